import type { IDMapping } from '../../../shared/agent/run-options.ts';

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
  consoleSize?: { height: number; width: number };
  user: SpecUser;
  args: string[];
  env: string[];
  cwd: string;
  capabilities: Capabilities;
  rlimits: Rlimit[];
  noNewPrivileges: boolean;
  oomScoreAdj: number;
  apparmorProfile?: string;
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
  /** Infinity: unlimited; it becomes a number only in {@link encodeSpec}. */
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
  uidMappings?: IDMapping[];
  gidMappings?: IDMapping[];
  devices: SpecDevice[];
  sysctl: Record<string, string>;
  resources: SpecResources;
  /** Missing: unfiltered. */
  seccomp?: Seccomp;
  maskedPaths: string[];
  readonlyPaths: string[];
}

export interface SpecResources {
  devices: DeviceRule[];
  memory?: { limit: number; swap?: number };
  cpu?: { quota?: number; period?: number; shares?: number; cpus?: string };
  pids?: { limit: number };
}

export interface DeviceRule {
  allow: boolean;
  type?: 'c' | 'b';
  major?: number;
  minor?: number;
  access: string;
}

export interface SpecDevice {
  path: string;
  type: 'c' | 'b';
  major: number;
  minor: number;
  fileMode: number;
  uid: number;
  gid: number;
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

/** The part of Node's JSON that the compiler's library does not know. */
const { rawJSON } = JSON as unknown as { rawJSON: (text: string) => object };
/** RLIM_INFINITY, which no double holds. */
const infinity = rawJSON('18446744073709551615');

/** The JSON of a specification, or of a part of it, as a runtime reads it. */
export function encodeSpec(spec: object): string {
  return JSON.stringify(spec, (_, value: unknown) =>
    typeof value === 'number' && value >= 2 ** 64 ? infinity : value,
  );
}

/** The reverse of {@link encodeSpec}. */
export function decodeSpec(text: string): Spec {
  return JSON.parse(text, (_, value: unknown) =>
    typeof value === 'number' && value >= 2 ** 64 ? Number.POSITIVE_INFINITY : value,
  ) as Spec;
}
