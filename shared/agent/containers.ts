/** What the agent's API says of containers: the words of both its sides. Times are ISO 8601, in UTC. */

/** A file system that is mounted into a container beside its image. */
export type MountRequest =
  | {
      type: 'bind';
      /** An absolute path on the node. */
      source: string;
      /** An absolute path in the container. */
      target: string;
      readonly?: boolean;
    }
  | {
      type: 'tmpfs';
      target: string;
      readonly?: boolean;
      /** Bytes. */
      size?: number;
      /** Permission bits of its root; default 0o1777. */
      mode?: number;
    };

/** host: the node's network; none: a network of its own with only a loopback device. */
export type NetworkMode = 'host' | 'none';

/** How a container differs from what its image's configuration says. */
export interface RunOptions {
  /** Replaces the image's Cmd; its Entrypoint stays in front. */
  args?: string[];
  /** `KEY=VALUE`, over the image's own. */
  env?: string[];
  workingDirectory?: string;
  /** `user`, `uid`, `user:group` or `uid:gid`, looked up in the image's own files. */
  user?: string;
  mounts?: MountRequest[];
  /** Default: host. */
  network?: NetworkMode;
  hostname?: string;
}

export interface CreateContainerRequest {
  /** Letters, digits, `_`, `.` and `-`, a letter or digit first, up to 128. */
  id: string;
  /** The full name of an image in the store, or the digest of its index or manifest. */
  image: string;
  options?: RunOptions;
  /** The agent removes the container, and what it wrote, after it has ended. */
  autoRemove?: boolean;
}

/** creating: not usable yet; created: never started; exited: may be started again, or removed. */
export type ContainerState =
  | 'creating'
  | 'created'
  | 'starting'
  | 'running'
  | 'exited'
  | 'removing';

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
  createdAt: string;
  startedAt?: string;
  finishedAt?: string;
  /** Of its first process, on the node. */
  pid?: number;
  /** 0 to 255; 128 + n for signal n, 126 and 127 when its command could not be run, 255 when it is not known. */
  exitCode?: number;
  /** Why it did not run, or how its exit code got lost. */
  error?: string;
}

/** How a container ended. */
export interface ContainerExit {
  exitCode: number;
  error?: string;
}

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

/** A mount in the form of mount(8). */
export interface MountStatus {
  type: string;
  source: string;
  options: string[];
}
