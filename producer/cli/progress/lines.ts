import { ageOf } from '../../../shared/duration.ts';
import { type Digest, splitDigest } from '../../../shared/image/digest.ts';
import type {
  BlobStatus,
  LayerState,
  NodeCounts,
  NodeStatus,
  PullStatus,
} from '../../../shared/pull/status.ts';

export type LineState =
  | 'waiting'
  | 'resolving'
  | 'resolved'
  | 'downloading'
  | 'downloaded'
  | 'unpacking'
  | 'exists'
  | 'done'
  | 'ready'
  | 'partial'
  | 'failed'
  | 'stopped';

/** What people read of one part of a pull. */
export interface ProgressLine {
  /** The same from update to update. */
  key: string;
  kind: 'reference' | 'blob' | 'node';
  /** For a terminal: short digests. */
  label: string;
  /** For logs: whole digests. */
  fullLabel: string;
  state: LineState;
  /** Bytes of a blob, or layers of a node. */
  done?: number;
  total?: number;
  /** Anything else worth saying: what a reference was resolved to, why something failed. */
  detail?: string;
  /** The same where there is little room. */
  short?: string;
}

export interface LineOptions {
  /** The node that this command runs on: a pull to it alone shows no line for it. */
  localNode?: string;
  /** Of many nodes, so many of a kind are shown one by one. Default: five. */
  shown?: { failed: number; behind: number };
}

/** The lines of a pull: its reference, its blobs in order, and its nodes unless only the local one is asked. */
export function progressLines(status: PullStatus, options: LineOptions = {}): ProgressLine[] {
  const [first] = status.nodes;
  const isLocal = status.nodes.length === 1 && first?.name === options.localNode;
  const own = isLocal ? first : undefined;
  const isCancelled = status.state === 'cancelled';
  const parts = [referenceLine(status), ...status.blobs.map((blob) => blobLine(blob, own))];
  return [
    ...(isCancelled ? parts.map(stoppedLine) : parts),
    ...(isLocal ? [] : nodeLines(status, options.shown ?? shownOfMany)),
  ];
}

const goesOn = new Set<LineState>(['waiting', 'resolving', 'downloading', 'unpacking']);

/** What was under way in a pull that was cancelled has stopped. */
function stoppedLine(line: ProgressLine): ProgressLine {
  return goesOn.has(line.state) ? { ...line, state: 'stopped' } : line;
}

/** With more nodes than these, most are only counted. */
export const manyNodes = 16;
const shownOfMany = { failed: 5, behind: 5 };

/** All nodes; of many, how many are how far, the first that failed, and those under way that are behind. */
function nodeLines(status: PullStatus, most: { failed: number; behind: number }): ProgressLine[] {
  const { nodes } = status;
  if (nodes.length <= manyNodes) return nodes.map((node) => nodeLine(node, status));
  const failed = nodes.filter(({ state }) => state === 'failed');
  const behind = nodes
    .filter(({ state }) => state === 'unpacking')
    .toSorted((a, b) => progressOf(a) - progressOf(b));
  const shown = [...failed.slice(0, most.failed), ...behind.slice(0, most.behind)];
  return [countLine(status), ...shown.map((node) => nodeLine(node, status))];
}

function countLine({ state, nodes, counts }: PullStatus): ProgressLine {
  const { ready, failed, unpacking, waiting, stopped } = counts;
  const parts = Object.entries({ ready, failed, unpacking, waiting, stopped });
  return {
    key: 'nodes',
    kind: 'node',
    label: `${nodes.length} nodes`,
    fullLabel: `${nodes.length} nodes`,
    state: countState(state, counts),
    done: ready + failed + stopped,
    total: nodes.length,
    detail: parts
      .filter(([, count]) => count > 0)
      .map(([name, count]) => `${count} ${name}`)
      .join(', '),
    short: `${ready}/${nodes.length} ready${failed === 0 ? '' : `, ${failed} failed`}`,
  };
}

function countState(state: PullStatus['state'], { waiting, stopped }: NodeCounts): LineState {
  if (state === 'ready' || state === 'failed' || state === 'partial') return state;
  if (state === 'cancelled') return 'stopped';
  return waiting + stopped === 0 || state === 'unpacking' ? 'unpacking' : 'waiting';
}

/** How far a node that unpacks is: layers that are done, then bytes. */
function progressOf({ layers }: NodeStatus): number {
  const done = layers.filter(({ state }) => state === 'done').length;
  const bytes = layers.reduce((sum, layer) => sum + layer.bytes, 0);
  return done + bytes / (bytes + 1);
}

function referenceLine({ reference, state, target, askedAt, error }: PullStatus): ProgressLine {
  const line = {
    key: 'reference',
    kind: 'reference',
    label: reference,
    fullLabel: reference,
  } as const;
  if (target !== undefined) {
    const age = askedAt === undefined ? '' : ` (from the store, ${ageOf(askedAt, new Date())} old)`;
    return { ...line, state: 'resolved', detail: `${target.digest}${age}` };
  }
  if (error !== undefined) return { ...line, state: 'failed' };
  return { ...line, state: state === 'queued' ? 'waiting' : 'resolving' };
}

function blobLine(blob: BlobStatus, node: NodeStatus | undefined): ProgressLine {
  const { descriptor, kind } = blob;
  const { digest, size } = descriptor;
  const line = {
    key: digest,
    kind: 'blob',
    label: `${kind}-${shortDigest(digest)}`,
    fullLabel: `${kind}-${digest}`,
    total: size,
  } as const;
  switch (blob.state) {
    case 'failed':
      return { ...line, state: 'failed', done: blob.bytes };
    case 'waiting':
      return { ...line, state: 'waiting', done: 0 };
    case 'fetching':
      return { ...line, state: 'downloading', done: blob.bytes };
    case 'stored':
      return { ...line, done: size, ...storedState(blob, node) };
  }
}

/** A blob that is in the store: what its layer has still to become on the node that is looked at. */
function storedState(
  blob: BlobStatus,
  node: NodeStatus | undefined,
): Pick<ProgressLine, 'state' | 'detail'> {
  const fetched = blob.existed ? 'exists' : 'done';
  if (node === undefined || blob.kind !== 'layer') return { state: fetched };
  // One blob can be several layers of an image.
  const layers = node.layers.filter(({ digest }) => digest === blob.descriptor.digest);
  const states = new Set<LayerState>(layers.map(({ state }) => state));
  if (states.has('failed')) return { state: 'failed' };
  if (states.has('unpacking')) return { state: 'unpacking' };
  if (states.size === 0 || states.has('waiting')) {
    if (node.state === 'failed') return { state: fetched };
    return { state: node.state === 'ready' ? fetched : 'downloaded' };
  }
  return { state: blob.existed && layers.every(({ existed }) => existed) ? 'exists' : 'done' };
}

function nodeLine(node: NodeStatus, status: PullStatus): ProgressLine {
  const { name, platform, state, layers, error } = node;
  const image = status.images?.find((each) => each.platform === platform);
  const planned = image?.layers ?? status.blobs.filter(({ kind }) => kind === 'layer');
  const total = layers.length || planned.length;
  const label = platform === undefined ? `node ${name}` : `node ${name} (${platform})`;
  return {
    key: `node ${name}`,
    kind: 'node',
    label,
    fullLabel: label,
    state,
    done: state === 'ready' ? total : layers.filter((layer) => layer.state === 'done').length,
    total,
    ...(error === undefined ? {} : { detail: error.message }),
  };
}

/** `sha256:` and twelve digits, as people compare them. */
function shortDigest(digest: Digest): string {
  const { algorithm, hex } = splitDigest(digest);
  return `${algorithm}:${hex.slice(0, 12)}`;
}
