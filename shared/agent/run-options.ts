/** How a container differs from what its image's configuration says: the words of both sides of the agent's API. */
import type { TerminalSize } from './exec.ts';

/** A file system that is mounted into a container beside its image. */
export type MountRequest = BindMountRequest | VolumeMountRequest | TmpfsMountRequest;

export interface BindMountRequest {
  type: 'bind';
  /** An absolute path on the node. */
  source: string;
  /** An absolute path in the container. */
  target: string;
  readonly?: boolean;
}

export interface VolumeMountRequest {
  type: 'volume';
  /** The name of a volume of the node, which is made when it is missing; without one it goes with the container. */
  source?: string;
  target: string;
  readonly?: boolean;
}

export interface TmpfsMountRequest {
  type: 'tmpfs';
  target: string;
  readonly?: boolean;
  /** Bytes. */
  size?: number;
  /** Permission bits of its root; default 0o1777. */
  mode?: number;
  /** Whether programs in it may be executed; default: not. */
  exec?: boolean;
  /** The owner of its root; default: root. */
  uid?: number;
  gid?: number;
}

/**
 * host: the node's network; none: a network of its own with only a loopback device; bridge: one of its own
 * with an address on the node's bridge.
 */
export const networkModes = ['host', 'none', 'bridge'] as const;
export type NetworkMode = (typeof networkModes)[number];

/** A port of the node that leads to one of a container in the network `bridge`. */
export interface PortMapping {
  /** Default: every address of the node. */
  hostIP?: string;
  hostPort: number;
  containerPort: number;
  protocol: 'tcp' | 'udp' | 'sctp';
}

/** The form of a port that an image exposes: `80`, `80/tcp` or `8000-8010/udp`. */
export const exposedPort = /^(\d{1,5})(?:-(\d{1,5}))?(?:\/(tcp|udp|sctp))?$/;

export const domainName = /^[A-Za-z0-9_.-]{1,253}$/;

/** A port of a container that is to be reached by one of the node. */
export interface PortRequest extends Omit<PortMapping, 'hostPort'> {
  /** Default: one that is free, chosen when it starts; the one of its last run where that is free. */
  hostPort?: number;
}

export interface ResourceLimits {
  /** CPU time a second of time: 1.5 is one and a half processors. */
  cpus?: number;
  /** Relative weight among containers that compete, 2 to 262144; 1024 is usual. */
  cpuShares?: number;
  /** Processors that it may run on, as `0-3,5`. */
  cpuset?: string;
  /** Bytes. What exceeds it is ended by the kernel (OOM). */
  memory?: number;
  /** Bytes of memory and swap together, at least `memory`; -1: unlimited. Default: twice `memory`. */
  memorySwap?: number;
  /** Processes and threads; -1: unlimited. */
  pids?: number;
  /** Bytes of /dev/shm; default 64 MiB. */
  shmSize?: number;
}

/** A limit of setrlimit(2); -1: unlimited. */
export interface Ulimit {
  /** Without RLIMIT_, in lower case: `nofile`. */
  name: string;
  soft: number;
  hard: number;
}

export interface DeviceRequest {
  /** The node's device, or a folder of devices. */
  source: string;
  target: string;
  /** Of `r`, `w` and `m` (mknod). */
  access: string;
}

export interface SecurityOptions {
  /** `unconfined`, or the text of a profile in moby's format; default: the node's default profile. */
  seccomp?: string;
  /** `unconfined`, or the name of a profile that the kernel has loaded. */
  apparmor?: string;
  /** Whether execve(2) gains nothing from setuid bits and file capabilities; default: true. */
  noNewPrivileges?: boolean;
}

export interface RestartPolicy {
  /** always: also after a reboot of the node. A container that somebody stopped stays stopped. */
  name: 'no' | 'on-failure' | 'always';
  /** Of on-failure: restarts until somebody starts it; default: without end. */
  maxRetries?: number;
}

/** How it is found out whether what runs in a container works. Times in milliseconds. */
export interface HealthcheckOptions {
  /** `NONE`; `CMD` and a command; `CMD-SHELL` and a line for /bin/sh. Default: the image's. */
  test?: string[];
  /** Between the end of a check and the next; default 30 s. */
  interval?: number;
  /** After which a check counts as failed; default 30 s. */
  timeout?: number;
  /** In which failures do not count; default none. */
  startPeriod?: number;
  /** Failures in a row that make it unhealthy; default 3. */
  retries?: number;
}

/** Ids of a container's users that are other ids on the node: `containerID` to `containerID + size - 1`. */
export interface IDMapping {
  containerID: number;
  hostID: number;
  size: number;
}

export interface RunOptions {
  /** Replaces the image's Entrypoint, and with it its Cmd; empty: none at all. */
  entrypoint?: string[];
  /** Replaces the image's Cmd; its Entrypoint stays in front. */
  args?: string[];
  /** `KEY=VALUE`, over the image's own. */
  env?: string[];
  workingDirectory?: string;
  /** `user`, `uid`, `user:group` or `uid:gid`, looked up in the image's own files. */
  user?: string;
  /** Names or numbers of groups, beside those of the user. */
  groups?: string[];
  mounts?: MountRequest[];
  /** Default: what the agent's configuration says. */
  network?: NetworkMode;
  ports?: PortRequest[];
  /** `80/tcp` or `8000-8010/udp`: of interest, beside those of the image. */
  expose?: string[];
  /** Lets a free port of the node lead to each that image and `expose` name, where `ports` does not have it. */
  publishAll?: boolean;
  hostname?: string;
  /** `NAME:ADDRESS` for /etc/hosts. */
  hosts?: string[];
  /** Addresses of name servers, instead of the node's. */
  dns?: string[];
  /** Domains in which names are looked up, instead of the node's; `.`: in none. */
  dnsSearch?: string[];
  labels?: Record<string, string>;
  /** Its standard streams are a terminal. */
  terminal?: boolean;
  /** Its standard input is kept open for those who attach. */
  stdin?: boolean;
  /** Its standard input ends when the first who attached leaves; a terminal's never does. */
  stdinOnce?: boolean;
  /** Of the window that it begins with, where it has a terminal. */
  terminalSize?: TerminalSize;
  /** Its root file system can't be written. */
  readOnly?: boolean;
  resources?: ResourceLimits;
  ulimits?: Ulimit[];
  /** Names with or without CAP_, or ALL. */
  capAdd?: string[];
  capDrop?: string[];
  security?: SecurityOptions;
  /** All capabilities and devices, no seccomp, nothing masked or read-only. */
  privileged?: boolean;
  devices?: DeviceRequest[];
  /** Of the kernel's settings that a namespace has its own of. */
  sysctls?: Record<string, string>;
  oomScoreAdj?: number;
  restart?: RestartPolicy;
  /** Its first process is a small init of the node's, which passes signals on and reaps what its command leaves behind. */
  init?: boolean;
  /** A name or number, instead of the image's. */
  stopSignal?: string;
  /** Seconds between the stop signal and SIGKILL; default 10. */
  stopTimeout?: number;
  healthcheck?: HealthcheckOptions;
  /** A user namespace: its root is not the node's. */
  userMapping?: IDMapping;
  /** The name or path of an OCI runtime; default: runc. */
  runtime?: string;
}
