import type { EncodedError } from '../errors.ts';
import type { Descriptor } from '../image/descriptor.ts';
import type { Digest } from '../image/digest.ts';
import type { Pace } from './pace.ts';
import type { Priority } from './priority.ts';

/**
 * What a pull brings into the store. `image`: the image whole, which then gets its name. `object`: the one object
 * of the reference's digest. `manifest`: index, manifest and config, or for
 * all platforms only what the reference leads to. `referrers`: an index of what refers to it.
 */
export type Want = 'image' | 'object' | 'manifest' | 'referrers';

/** What a caller asks for. Everything in it is plain data: a credential is only named. */
export interface PullRequest {
  /** As typed; normalized by the producer before it is enqueued. */
  reference: string;
  /**
   * `os/architecture[/variant]`, several of them with commas between, or `all`; default: each node's own, without nodes
   * that of the caller's host. One alone is brought to every node.
   */
  platform?: string;
  /** The nodes that shall hold the image unpacked. Empty: fetch into the content store only. */
  nodes: string[];
  /** Instead of `nodes`: those that fulfil it when the pull is accepted, as parseSelector reads it; empty: all. */
  selector?: string;
  /** The name of the credential that the workers use for it; default: what they have for the registry. */
  credential?: string;
  /** Default: image. */
  want?: Want;
  /** A URL that is told when the pull has ended. It stands in Redis: there is no secret in it. */
  webhook?: string;
  /** Default: normal. */
  priority?: Priority;
  /** `always` (the default), `missing` or `if-stale=DURATION`: when a tag that the store has is asked of the registry again. */
  policy?: string;
  /** Default: all nodes at once, for as long as it takes. */
  pace?: Pace;
  /** The desired set that it is for, by its name. */
  desired?: string;
  /** What the reference is, as a registry said then: it is not asked again. */
  given?: { target: Descriptor; askedAt: Date };
}

export type PullState =
  | 'queued'
  | 'resolving'
  | 'fetching'
  | 'unpacking'
  | 'ready'
  | 'partial'
  | 'failed'
  | 'cancelled';
export type BlobState = 'waiting' | 'fetching' | 'stored' | 'failed';
export type LayerState = 'waiting' | 'unpacking' | 'done' | 'failed';
/** Stopped: the pull ended before the node had. */
export type NodeState = 'waiting' | 'unpacking' | 'ready' | 'failed' | 'stopped';
export type NodeCounts = Record<NodeState, number>;

export type BlobKind = 'index' | 'manifest' | 'config' | 'layer' | 'object';

/** A blob of a pull, as people follow it. */
export interface BlobStatus {
  descriptor: Descriptor;
  kind: BlobKind;
  state: BlobState;
  /** Bytes that are in the store or on their way into it. */
  bytes: number;
  /** It was in the store before this pull asked: no byte of it was transferred for this pull. */
  existed: boolean;
  error?: EncodedError;
}

export interface NodeLayerStatus {
  /** The layer's compressed digest, as in the manifest. */
  digest: Digest;
  state: LayerState;
  /** Uncompressed bytes applied so far. */
  bytes: number;
  /** The snapshot was there before this pull. */
  existed: boolean;
}

/** What the nodes of one platform get, of a pull that brings several. */
export interface PlatformImage {
  platform: string;
  manifest?: Descriptor;
  /** The layers of the manifest, in its order. */
  layers: Digest[];
  /** Why there is none. */
  error?: EncodedError;
}

export interface NodeStatus {
  name: string;
  /** Whose image it gets, where the pull brings more than one. */
  platform?: string;
  state: NodeState;
  layers: NodeLayerStatus[];
  error?: EncodedError;
}

/**
 * A pull as it stands, without its nodes one by one. `ready` means: every asked node can run it; `partial`: some can,
 * and the others failed or never began.
 */
export interface PullHead {
  id: string;
  reference: string;
  platform: string;
  priority: Priority;
  state: PullState;
  createdAt: Date;
  finishedAt?: Date;
  /** No further node begins until it is resumed. */
  paused: boolean;
  pace: Pace;
  desired?: string;
  /** What the reference was resolved to, once. */
  target?: Descriptor;
  /** The registry was not asked: the target is what it said then. */
  askedAt?: Date;
  /** The manifest for the platform, or the first of several (equal to target unless that is an index). */
  manifest?: Descriptor;
  /** What there is for each platform, where the pull brings more than one. */
  images?: PlatformImage[];
  blobs: BlobStatus[];
  counts: NodeCounts;
  error?: EncodedError;
  /** Why the pull waits (a registry's rate limit, a retry), or why no further node begins; for people. */
  note?: string;
  /** What the registry has to say to people; nothing follows from it. */
  warning?: string;
}

/** A pull as it stands. */
export interface PullStatus extends PullHead {
  nodes: NodeStatus[];
}

const ends = new Set<PullState>(['ready', 'partial', 'failed', 'cancelled']);

export function isFinished(state: PullState): boolean {
  return ends.has(state);
}

/** How many nodes are in each state. */
export function countNodes(nodes: Iterable<Pick<NodeStatus, 'state'>>): NodeCounts {
  const counts = { waiting: 0, unpacking: 0, ready: 0, failed: 0, stopped: 0 };
  for (const { state } of nodes) counts[state]++;
  return counts;
}
