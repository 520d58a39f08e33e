/** What can be seen of containers: the words of both sides of the agent's API. Times are ISO 8601, in UTC. */

/** What a container has used so far, and uses now. */
export interface ContainerStats {
  id: string;
  at: string;
  /** CPU time since it started. */
  cpuNanoseconds: number;
  /** Without the cache of files that the kernel can give up at once. */
  memoryBytes: number;
  /** Its limit, or the memory of the node. */
  memoryLimitBytes: number;
  processes: number;
  /** Since it started; none in the network of the node. */
  network?: { receivedBytes: number; sentBytes: number };
  /** From and to disks, since it started. */
  disk: { readBytes: number; writtenBytes: number };
}

/** A process of a container, by the ids of the node. */
export interface ProcessStatus {
  pid: number;
  /** Its pid in the container. */
  ownPid: number;
  parent: number;
  uid: number;
  /** As ps(1) shows it: R, S, D, T, Z. */
  state: string;
  cpuMilliseconds: number;
  startedAt: string;
  command: string;
}

const eventKinds = [
  'create',
  'start',
  'pause',
  'unpause',
  'oom',
  'die',
  'health',
  'remove',
] as const;

/** The header of an answer that says behind which event it begins. */
export const eventStartHeader = 'drayage-events-after';

/** Something that happened to a container. */
export interface ContainerEvent {
  /** Grows from event to event of one node. */
  id: number;
  at: string;
  kind: (typeof eventKinds)[number];
  container: string;
  image: string;
  /** Of `die`, where it is known. */
  exitCode?: number;
  /** Of `die`: why it did not run, or what went wrong. */
  error?: string;
  /** Of `health`. */
  health?: string;
  /** Of `start`: how often its restart policy has started it by now; not where somebody started it. */
  restarts?: number;
}
