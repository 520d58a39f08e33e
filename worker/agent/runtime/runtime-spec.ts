/** The part of the runtime specification's config.json that drayage writes (runtime-spec, config.md and config-linux.md). */
export interface Spec {
  ociVersion: string;
  hostname: string;
  root: { path: string; readonly: boolean };
  process: SpecProcess;
  mounts: SpecMount[];
  linux: SpecLinux;
  annotations: Record<string, string>;
}

export interface SpecProcess {
  terminal: boolean;
  user: SpecUser;
  args: string[];
  env: string[];
  cwd: string;
  capabilities: Capabilities;
  rlimits: Rlimit[];
  noNewPrivileges: boolean;
  oomScoreAdj: number;
}

export interface SpecUser {
  uid: number;
  gid: number;
  additionalGids: number[];
  umask: number;
}

/** The five sets of capabilities(7). */
export interface Capabilities {
  bounding: string[];
  effective: string[];
  permitted: string[];
  inheritable: string[];
  ambient: string[];
}

export interface Rlimit {
  type: string;
  soft: number;
  hard: number;
}

export interface SpecMount {
  destination: string;
  type: string;
  source: string;
  options: string[];
}

export interface SpecLinux {
  cgroupsPath: string;
  namespaces: { type: string; path?: string }[];
  resources: { devices: { allow: boolean; access: string }[] };
  seccomp: Seccomp;
  maskedPaths: string[];
  readonlyPaths: string[];
}

export interface Seccomp {
  defaultAction: string;
  defaultErrnoRet?: number;
  architectures: string[];
  syscalls: SeccompRule[];
}

export interface SeccompRule {
  names: string[];
  action: string;
  errnoRet?: number;
  args?: { index: number; value: number; valueTwo: number; op: string }[];
}
