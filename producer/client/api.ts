/** The nouns of the API. Made of producer/api/openapi.json by producer/api/client-types.ts. */

export type BlobList = {
  items: StoredBlob[];
  /** The cursor of the next page */
  next?: string;
};

/** A collection of garbage that somebody asked for */
export type Collection = {
  id: string;
  /** done: all parts have answered */
  state: 'waiting' | 'done';
  dryRun: boolean;
  graceMs?: number;
  createdAt: string;
  /** Nodes that are lost, and so were not asked */
  lost: string[];
  parts: {
    /** `store`, or `node NAME` */
    part: string;
    /** Once it has answered */
    report?: GcReport;
  }[];
};

export type CollectionList = {
  items: CollectionSummary[];
  /** The cursor of the next page */
  next?: string;
};

export type CollectionSummary = {
  id: string;
  /** done: all parts have answered */
  state: 'waiting' | 'done';
  dryRun: boolean;
  graceMs?: number;
  createdAt: string;
  /** Nodes that are lost, and so were not asked */
  lost: string[];
  parts: {
    /** `store`, or `node NAME` */
    part: string;
    state: 'waiting' | 'done';
  }[];
};

export type Container = {
  id: string;
  /** created: never started; restarting: ended, and its restart policy will start it again; exited: may be started again, or removed */
  state: 'creating' | 'created' | 'starting' | 'running' | 'paused' | 'restarting' | 'exited' | 'removing';
  image: string;
  /** algorithm:encoded, as in sha256:… */
  manifest: string;
  /** Program and arguments */
  args: string[];
  stopSignal: string;
  autoRemove: boolean;
  labels: Record<string, string>;
  terminal: boolean;
  stdin: boolean;
  restart: {
    name: 'no' | 'on-failure' | 'always';
    maxRetries?: number;
  };
  /** How often its restart policy has started it again */
  restarts: number;
  /** The kernel ended it for its memory */
  oomKilled: boolean;
  network: {
    mode: 'host' | 'none' | 'bridge';
    addresses: string[];
    ports: {
      hostIP?: string;
      hostPort: number;
      containerPort: number;
      protocol: 'tcp' | 'udp' | 'sctp';
    }[];
    /** 80/tcp: of interest, by the image */
    exposedPorts: string[];
  };
  mounts: {
    type: 'bind' | 'volume' | 'tmpfs';
    source?: string;
    target: string;
    readonly: boolean;
  }[];
  health?: ContainerHealth;
  createdAt: string;
  startedAt?: string;
  /** It was asked to stop, and is killed then, unless it has ended */
  killAt?: string;
  finishedAt?: string;
  /** Of its first process, on the node */
  pid?: number;
  /** 128 + n for signal n, 126 and 127 when its command could not be run, 255 when it is not known */
  exitCode?: number;
  /** Why it did not run */
  error?: string;
  /** What was asked for and is less on this node: only where it was made just now */
  warnings?: string[];
};

export type ContainerExit = {
  exitCode: number;
  error?: string;
};

export type ContainerHealth = {
  state: 'starting' | 'healthy' | 'unhealthy';
  /** Checks that failed since the last that did not */
  failures: number;
  last?: {
    at: string;
    exitCode: number;
    output: string;
  };
};

export type ContainerList = {
  items: Container[];
};

export type Descriptor = {
  mediaType: string;
  /** algorithm:encoded, as in sha256:… */
  digest: string;
  size: number;
};

export type DesiredRequest = {
  reference: string;
  /** Of which nodes are members: linux/amd64, or several, linux/amd64,linux/arm64. Each gets the image for its own. Default: those of the nodes that match now */
  platform?: string;
  /** The nodes, as in zone=a,gpu!=none or name in (node-a,node-b); empty: all */
  selector: string;
  pace?: Pace;
  priority?: 'high' | 'normal' | 'low';
  credential?: string;
  /** When the tag is looked at again: a duration, as in 6h, or a cron expression in UTC. What is new is rolled out. None: never */
  schedule?: string;
  retention?: {
    previous?: number;
    until?: string;
  };
};

/** An image that nodes shall hold from now on */
export type DesiredSet = {
  name: string;
  reference: string;
  platform: string;
  /** The nodes, as in zone=a,gpu!=none or name in (node-a,node-b); empty: all */
  selector: string;
  retention: {
    /** Versions before the current one that are kept, too */
    previous: number;
    /** When the set ends by itself */
    until?: string;
  };
  pace: Pace;
  priority: 'high' | 'normal' | 'low';
  credential?: string;
  /** When the tag is looked at again: a duration, as in 6h, or a cron expression in UTC. What is new is rolled out. None: never */
  schedule?: string;
  createdAt: string;
  /** What nodes shall hold; none until it is known */
  current?: {
    target: Descriptor;
    manifest: Descriptor;
    /** Of several platforms those that there are */
    images?: {
      platform: string;
      manifest: Descriptor;
    }[];
    since: string;
  };
  previous: {
    target: Descriptor;
    manifest: Descriptor;
    /** Of several platforms those that there are */
    images?: {
      platform: string;
      manifest: Descriptor;
    }[];
    since: string;
  }[];
  /** Those that match and are neither lost nor cordoned, and those that hold it */
  nodes: {
    total: number;
    ready: number;
  };
  lookedAt?: string;
  nextLook?: string;
};

export type DrainRequest = {
  /** Its containers end too, each within its own time. Default: they run on */
  stopContainers?: boolean;
};

/** What is left out is as the container has it */
export type ExecRequest = {
  /** Program and arguments */
  args: string[];
  /** KEY=VALUE, over those of the container */
  env?: string[];
  workingDirectory?: string;
  user?: string;
  /** Its standard input. Default: empty */
  input?: string;
};

export type ExecResult = {
  exitCode: number;
  stdout: string;
  stderr: string;
  /** It wrote more than is kept */
  truncated: boolean;
};

export type FailedJob = {
  id: string;
  /** The stable code of what went wrong */
  code: string;
  reason: string;
  attempts: number;
  addedAt: string;
  failedAt: string;
  /** The pull that it was for */
  pull?: string;
  /** algorithm:encoded, as in sha256:… */
  digest?: string;
};

export type FailedJobList = {
  items: FailedJob[];
  /** The cursor of the next page */
  next?: string;
};

/** Why something failed, with the stable code of a problem */
export type Fault = {
  code: string;
  message: string;
  retryable: boolean;
  hint?: string;
};

export type FleetContainers = {
  items: NodeContainer[];
  /** Nodes whose containers are not known now, and why */
  missing: {
    node: string;
    error: Fault;
  }[];
};

/** What went, or would */
export type GcItem = {
  /** image: a name of one; snapshot: a layer on a node; the others are of the content store */
  kind: 'image' | 'blob' | 'ingest' | 'upload' | 'set aside' | 'file' | 'snapshot';
  name: string;
  bytes: number;
  why: string;
};

/** What one part of the fleet did, or would do */
export type GcReport = {
  items: GcItem[];
  /** What stays although nothing leads to it, by the reason */
  kept: {
    count: number;
    bytes: number;
    why: string;
  }[];
  /** Items that are not listed */
  more?: {
    count: number;
    bytes: number;
  };
  /** Why it could not do all that it should */
  problems: string[];
};

export type GcRequest = {
  /** Nothing goes: it is only said what would */
  dryRun?: boolean;
  /** For how long what nobody needs stays. Default: what each part is configured to. What is in use never goes */
  graceMs?: number;
  /** Only these nodes. Default: all that are heard of */
  nodes?: string[];
  /** The content store. Default: only where no nodes are named. Alone: no node */
  store?: boolean;
};

export type Image = {
  name: string;
  target: Descriptor;
  manifest: Descriptor;
  updatedAt: string;
  /** Bytes of index, manifest, config and layers in the store. Missing where the manifest can not be read. */
  size?: number;
};

export type ImageList = {
  items: Image[];
  /** The cursor of the next page */
  next?: string;
};

export type ImageName = {
  /** The new name: a reference with a tag */
  name: string;
  /** A name that there is, or the digest of an index or manifest */
  image: string;
};

/** A transfer in flight, or what a dead worker left of one */
export type Ingest = {
  /** algorithm:encoded, as in sha256:… */
  digest: string;
  /** Bytes that are stored */
  offset: number;
  size: number;
  updatedAt: string;
};

export type IngestList = {
  items: Ingest[];
};

export type KeptImage = {
  set: DesiredSet;
  /** The id of the pull */
  pull: string;
};

export type KillRequest = {
  /** A name as SIGTERM, or a number. Default: SIGKILL */
  signal?: string;
};

export type Node = {
  name: string;
  /** lost: its agent was not heard of for 30 s */
  state: 'ready' | 'lost';
  /** It gets nothing new */
  mark?: 'cordoned' | 'drained';
  platform: string;
  version: string;
  labels: Record<string, string>;
  capacity: {
    cpus: number;
    memoryBytes: number;
  };
  /** Images that it holds, ready to run */
  images: number;
  /** Containers that run */
  containers: number;
  /** What is not well with it, for people */
  problems: string[];
  seenAt: string;
  /** Committed snapshots, the bytes that they take, and those of the disk */
  disk: {
    snapshots: number;
    bytes: number;
    diskSize: number;
    diskFree: number;
  };
};

/** A container, and where it is */
export type NodeContainer = {
  node: string;
  container: Container;
};

export type NodeDetail = {
  name: string;
  /** lost: its agent was not heard of for 30 s */
  state: 'ready' | 'lost';
  /** It gets nothing new */
  mark?: 'cordoned' | 'drained';
  platform: string;
  version: string;
  labels: Record<string, string>;
  capacity: {
    cpus: number;
    memoryBytes: number;
  };
  /** Images that it holds, ready to run */
  images: number;
  /** Containers that run */
  containers: number;
  /** What is not well with it, for people */
  problems: string[];
  seenAt: string;
  /** Committed snapshots, the bytes that they take, and those of the disk */
  disk: {
    snapshots: number;
    bytes: number;
    diskSize: number;
    diskFree: number;
  };
  /** The manifests of the images */
  holds: string[];
};

/** An image that a node can run */
export type NodeImage = {
  name: string;
  /** algorithm:encoded, as in sha256:… */
  digest: string;
  /** Bytes in the content store */
  size?: number;
};

export type NodeImageList = {
  items: NodeImage[];
};

/** How a pull goes over its nodes */
export type Pace = {
  /** Nodes that are under way at once. Default: all */
  parallelism?: number;
  /** So many nodes come first, and must all be ready before any other begins */
  canary?: number;
  /** When more nodes than these have failed, no other begins */
  maxFailures?: number;
  /** From its acceptance on, in which the pull must have ended */
  timeoutMs?: number;
  /** Without any progress, after which the content, or a node, is given up */
  noProgressMs?: number;
};

export type PlatformImage = {
  platform: string;
  manifest?: Descriptor;
  layers: string[];
  /** Why there is none */
  error?: Fault;
};

/** RFC 9457 */
export type Problem = {
  type: string;
  title: string;
  status: number;
  code: string;
  detail: string;
  hint?: string;
  retryable: boolean;
};

export type Pull = {
  id: string;
  reference: string;
  platform: string;
  /** ready: every node can run it; partial: some can, the others failed or never began */
  state: 'queued' | 'resolving' | 'fetching' | 'unpacking' | 'ready' | 'partial' | 'failed' | 'cancelled';
  priority: 'high' | 'normal' | 'low';
  createdAt: string;
  finishedAt?: string;
  /** No further node begins until it is resumed */
  paused: boolean;
  pace: Pace;
  /** The desired set that it is for */
  desired?: string;
  target?: Descriptor;
  /** The registry was not asked: the target is what it said then */
  askedAt?: string;
  /** What nodes unpack; the first where the pull brings several platforms */
  manifest?: Descriptor;
  /** What there is for each platform, where the pull brings more than one */
  images?: PlatformImage[];
  error?: Fault;
  /** Why it waits, for people */
  note?: string;
  /** What the registry has to say to people */
  warning?: string;
  blobs: PullBlob[];
  /** Nodes by state */
  counts: {
    waiting: number;
    unpacking: number;
    ready: number;
    failed: number;
    stopped: number;
  };
  nodes: PullNode[];
};

export type PullBlob = {
  descriptor: Descriptor;
  kind: 'index' | 'manifest' | 'config' | 'layer' | 'object';
  state: 'waiting' | 'fetching' | 'stored' | 'failed';
  bytes: number;
  existed: boolean;
  error?: Fault;
};

/** What the webhook of a pull is told once it has ended */
export type PullEnded = {
  type: 'pull.ready' | 'pull.partial' | 'pull.failed' | 'pull.cancelled';
  /** When the pull ended */
  timestamp: string;
  data: {
    id: string;
    reference: string;
    platform: string;
    /** ready: every node can run it; partial: some can, the others failed or never began */
    state: 'queued' | 'resolving' | 'fetching' | 'unpacking' | 'ready' | 'partial' | 'failed' | 'cancelled';
    createdAt: string;
    finishedAt?: string;
    /** What the reference was resolved to */
    target?: Descriptor;
    nodes: {
      total: number;
      ready: number;
      failed: number;
    };
    error?: Fault;
  };
};

export type PullList = {
  items: PullSummary[];
  /** The cursor of the next page */
  next?: string;
};

export type PullNode = {
  name: string;
  /** Whose image it gets, where the pull brings more than one */
  platform?: string;
  /** stopped: the pull ended before the node had */
  state: 'waiting' | 'unpacking' | 'ready' | 'failed' | 'stopped';
  layers: PullNodeLayer[];
  error?: Fault;
};

export type PullNodeLayer = {
  /** algorithm:encoded, as in sha256:… */
  digest: string;
  state: 'waiting' | 'unpacking' | 'done' | 'failed';
  bytes: number;
  existed: boolean;
};

export type PullRequest = {
  reference: string;
  /** One is brought to every node: linux/amd64. Several (linux/amd64,linux/arm64), or all: each node gets the image for its own. Default: each node's own; without nodes that of the API's host */
  platform?: string;
  /** Who shall hold the image unpacked. None: the content store only. */
  nodes?: string[];
  /** The login that the workers use, by its name there. Default: what they have for the registry */
  credential?: string;
  /** Instead of nodes: those whose labels fulfil it now, as in zone=a,gpu!=none or zone in (a,b); empty: all that are neither lost nor cordoned */
  selector?: string;
  pace?: Pace;
  /** Told when the pull has ended: a POST, signed as Standard Webhooks has it, tried for half an hour. Put no secret into it: it is kept in Redis */
  webhook?: string;
  /** low: for bulk pre-pulls; high: somebody waits for it. Default: normal */
  priority?: 'high' | 'normal' | 'low';
  /** When the registry is asked for a tag that the store has: always (the default), missing (never) or if-stale=DURATION, as in if-stale=12h */
  policy?: string;
};

export type PullSummary = {
  id: string;
  reference: string;
  platform: string;
  /** ready: every node can run it; partial: some can, the others failed or never began */
  state: 'queued' | 'resolving' | 'fetching' | 'unpacking' | 'ready' | 'partial' | 'failed' | 'cancelled';
  priority: 'high' | 'normal' | 'low';
  createdAt: string;
  finishedAt?: string;
  /** No further node begins until it is resumed */
  paused: boolean;
  pace: Pace;
  /** The desired set that it is for */
  desired?: string;
  target?: Descriptor;
  /** The registry was not asked: the target is what it said then */
  askedAt?: string;
  /** What nodes unpack; the first where the pull brings several platforms */
  manifest?: Descriptor;
  /** What there is for each platform, where the pull brings more than one */
  images?: PlatformImage[];
  error?: Fault;
  /** Why it waits, for people */
  note?: string;
  /** What the registry has to say to people */
  warning?: string;
  /** `bytes` of `size` are in the store, or on their way into it */
  blobs: {
    total: number;
    stored: number;
    bytes: number;
    size: number;
  };
  nodes: {
    total: number;
    waiting: number;
    unpacking: number;
    ready: number;
    failed: number;
    stopped: number;
  };
};

export type Queue = {
  name: string;
  jobs: Record<string, number>;
  oldestWaitingSeconds?: number;
  oldestDelayedSeconds?: number;
  workers: number;
  /** Jobs that ended in each of the last 60 minutes, the oldest first */
  rate: {
    completed: number[];
    failed: number[];
  };
};

export type Retried = {
  /** The new pulls, in place of those that the job failed. None: the job itself is queued again. */
  pulls: string[];
};

/** How it differs from what its image says, as the options of dray run: sizes in bytes, stopTimeout in seconds, times of healthcheck in milliseconds, -1 for no limit */
export type RunOptions = {
  entrypoint?: string[];
  args?: string[];
  env?: string[];
  workingDirectory?: string;
  user?: string;
  groups?: string[];
  mounts?: ({
    type: 'bind';
    source: string;
    target: string;
    readonly?: boolean;
  } | {
    type: 'volume';
    source?: string;
    target: string;
    readonly?: boolean;
  } | {
    type: 'tmpfs';
    target: string;
    readonly?: boolean;
    size?: number;
    mode?: number;
    exec?: boolean;
    uid?: number;
    gid?: number;
  })[];
  network?: 'host' | 'none' | 'bridge';
  ports?: {
    hostIP?: string;
    hostPort?: number;
    containerPort: number;
    protocol: 'tcp' | 'udp' | 'sctp';
  }[];
  expose?: string[];
  publishAll?: boolean;
  hostname?: string;
  hosts?: string[];
  dns?: string[];
  dnsSearch?: string[];
  labels?: Record<string, string>;
  terminal?: boolean;
  stdin?: boolean;
  stdinOnce?: boolean;
  terminalSize?: {
    columns: number;
    rows: number;
  };
  readOnly?: boolean;
  resources?: {
    cpus?: number;
    cpuShares?: number;
    cpuset?: string;
    memory?: number;
    memorySwap?: number;
    pids?: number;
    shmSize?: number;
  };
  ulimits?: {
    name: string;
    soft: number;
    hard: number;
  }[];
  capAdd?: string[];
  capDrop?: string[];
  security?: {
    seccomp?: string;
    apparmor?: string;
    noNewPrivileges?: boolean;
  };
  privileged?: boolean;
  devices?: {
    source: string;
    target: string;
    access: string;
  }[];
  sysctls?: Record<string, string>;
  oomScoreAdj?: number;
  restart?: {
    name: 'no' | 'on-failure' | 'always';
    maxRetries?: number;
  };
  init?: boolean;
  stopSignal?: string;
  stopTimeout?: number;
  healthcheck?: {
    test?: string[];
    interval?: number;
    timeout?: number;
    startPeriod?: number;
    retries?: number;
  };
  userMapping?: {
    containerID: number;
    hostID: number;
    size: number;
  };
  runtime?: string;
};

export type RunRequest = {
  /** A reference, or the digest of an index or manifest */
  image: string;
  /** Default: twelve hex digits */
  id?: string;
  options?: RunOptions;
  platform?: string;
  /** It goes once it has ended */
  autoRemove?: boolean;
  /** false: it is made only */
  start?: boolean;
};

export type StopRequest = {
  /** After which it is killed. Default: its own */
  timeoutMs?: number;
};

export type StoredBlob = {
  /** algorithm:encoded, as in sha256:… */
  digest: string;
  size: number;
  createdAt: string;
};
