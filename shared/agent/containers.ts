import type { NetworkMode, PortMapping, RestartPolicy, RunOptions } from './run-options.ts';

/** What the agent's API says of containers: the words of both its sides. Times are ISO 8601, in UTC. */

export interface CreateContainerRequest {
  /** Letters, digits, `_`, `.` and `-`, a letter or digit first, up to 128. */
  id: string;
  /** The full name of an image in the store, or the digest of its index or manifest. */
  image: string;
  options?: RunOptions;
  /** os/architecture[/variant] that the image must be for; default: whatever it is. */
  platform?: string;
  /** The agent removes the container, and what it wrote, after it has ended. */
  autoRemove?: boolean;
}

/**
 * creating: not usable yet; created: never started; restarting: ended, and its restart policy will start it
 * again; exited: may be started again, or removed.
 */
export type ContainerState =
  | 'creating'
  | 'created'
  | 'starting'
  | 'running'
  | 'paused'
  | 'restarting'
  | 'exited'
  | 'removing';

/** What is there to be looked after, as `docker ps` has it: not what never ran or has ended for good. */
export const aliveStates: ReadonlySet<ContainerState> = new Set([
  'starting',
  'running',
  'paused',
  'restarting',
]);

export interface ContainerStatus {
  id: string;
  state: ContainerState;
  image: string;
  /** The digest of the manifest that it was made from. */
  manifest: string;
  /** What runs in it: program and arguments. */
  args: string[];
  /** The name of the signal that asks it to stop. */
  stopSignal: string;
  autoRemove: boolean;
  labels: Record<string, string>;
  /** Whether its standard streams are a terminal. */
  terminal: boolean;
  /** Whether its standard input is kept open for those who attach. */
  stdin: boolean;
  restart: RestartPolicy;
  /** How often its restart policy has started it again. */
  restarts: number;
  /** Whether the kernel ended a process of it because it needed more memory than it may have, in its last run. */
  oomKilled: boolean;
  network: NetworkStatus;
  mounts: MountPoint[];
  /** Only where there is a check. */
  health?: HealthStatus;
  createdAt: string;
  startedAt?: string;
  /** Somebody asked it to stop: when it is killed, unless it has ended by then. */
  killAt?: string;
  finishedAt?: string;
  /** Of its first process, on the node. */
  pid?: number;
  /** 0 to 255; 128 + n for signal n, 126 and 127 when its command could not be run, 255 when it is not known. */
  exitCode?: number;
  /** Why it did not run, or how its exit code got lost. */
  error?: string;
  /** What was asked for and is less on this node: only in the answer to its creation. */
  warnings?: string[];
}

export interface NetworkStatus {
  mode: NetworkMode;
  /** Without the length of the prefix; none while it does not run. */
  addresses: string[];
  ports: PortMapping[];
  /** `80/tcp`: ports that the image says are of interest. */
  exposedPorts: string[];
}

/** What is mounted in a container beside its image. */
export interface MountPoint {
  type: 'bind' | 'volume' | 'tmpfs';
  /** A path on the node, or the name of a volume. */
  source?: string;
  target: string;
  readonly: boolean;
}

export interface HealthStatus {
  state: 'starting' | 'healthy' | 'unhealthy';
  /** Checks that failed since the last that did not. */
  failures: number;
  /** The last check, once there was one. */
  last?: HealthcheckResult;
}

export interface HealthcheckResult {
  at: string;
  exitCode: number;
  /** The beginning of what it printed. */
  output: string;
}

/** How a container ended. */
export interface ContainerExit {
  exitCode: number;
  error?: string;
}

/** The first message of the agent in the answer to a request to run one; the output follows, and the exit. */
export interface StartedMessage {
  started: { id: string; warnings: string[] };
}

/** What stands at a path in a container. */
export interface FoundFile {
  type: 'file' | 'folder' | 'symlink' | 'other';
  /** Bytes of a file. */
  size: number;
  mode: number;
}

/** What of a container's output is wanted, and in which form. */
export interface LogRequest {
  /** Goes on until it has ended. */
  follow?: boolean;
  /** Puts the time, in UTC, in front of each line. */
  timestamps?: boolean;
  /** What was written since then. */
  since?: Date;
  /** So many lines before the end. */
  tail?: number;
  /** Where an earlier answer began: {@link logStartHeader}. */
  from?: number;
}

/** The header of an answer that says where in the log it begins, so that it can be asked for once more. */
export const logStartHeader = 'drayage-log-start';

export type OutputStream = 'stdout' | 'stderr';

/** A piece of a container's output, as its process wrote it. */
export interface OutputChunk {
  stream: OutputStream;
  bytes: Uint8Array;
}

/** A snapshot of the node, as the API lists it. */
export interface SnapshotStatus {
  name: string;
  kind: 'committed' | 'active' | 'view';
  parent?: string;
  /** Bytes on disk of the snapshot's own layer; 0 where it is not committed. */
  bytes: number;
  /** Files, folders and all else in it. */
  entries: number;
  createdAt: string;
}

/** A volume with a name, as the API lists it. */
export interface VolumeStatus {
  name: string;
  /** Its folder on the node. */
  path: string;
  createdAt: string;
  /** The ids of the containers that have it, whether they run or not. */
  usedBy: string[];
}

/** A mount in the form of mount(8). */
export interface MountStatus {
  type: string;
  source: string;
  options: string[];
}
