import type { Digest } from '../image/digest.ts';
import type { PlannedBlob, PullRecord } from './record.ts';
import type { PullRecords } from './records.ts';
import {
  type BlobState,
  type BlobStatus,
  isFinished,
  type NodeCounts,
  type PullHead,
} from './status.ts';
import type { Transfer } from './transfers.ts';

/** What else a pull's state is told from: what it needs, and how far that is. */
interface Progress {
  blobs: PlannedBlob[];
  missing: Digest[];
  transfers: Map<Digest, Transfer>;
  /** Nodes that have begun, ended or not. */
  begun: number;
}

/** How a pull stands, without its nodes one by one: it costs the same however many there are. */
export async function headOf(record: PullRecord, records: PullRecords): Promise<PullHead> {
  const { id } = record;
  const [blobs, missing, begun] = await Promise.all([
    records.blobs.planned(id),
    records.blobs.missing(id),
    records.nodes.begun(id),
  ]);
  const transfers = await records.transfers.all(missing);
  return headFrom(record, { blobs, missing, transfers, begun });
}

/** How a pull stands of which nothing but its record is there yet. */
export function headOfNew(record: PullRecord): PullHead {
  return headFrom(record, { blobs: [], missing: [], transfers: new Map(), begun: 0 });
}

function headFrom(record: PullRecord, progress: Progress): PullHead {
  const { id, error } = record;
  const { blobs, missing, transfers, begun } = progress;
  const note = noteOf(record) ?? noteOfLost(transfers);
  return {
    id,
    reference: record.reference,
    platform: record.platform,
    priority: record.priority,
    state: record.state,
    createdAt: record.createdAt,
    paused: record.paused,
    pace: record.pace,
    blobs: blobs.map((blob) => blobStatus(record, blob, missing, transfers)),
    counts: countsOf(record, begun),
    ...(record.desired === undefined ? {} : { desired: record.desired }),
    ...(record.finishedAt === undefined ? {} : { finishedAt: record.finishedAt }),
    ...(record.target === undefined ? {} : { target: record.target }),
    ...(record.askedAt === undefined ? {} : { askedAt: record.askedAt }),
    ...(record.manifest === undefined ? {} : { manifest: record.manifest }),
    ...(record.images.length > 1 ? { images: record.images } : {}),
    ...(error === undefined ? {} : { error }),
    ...(note === undefined ? {} : { note }),
    ...(record.warning === undefined ? {} : { warning: record.warning }),
  };
}

function countsOf({ state, nodes }: PullRecord, begun: number): NodeCounts {
  const { total, ready, failed } = nodes;
  return isFinished(state)
    ? { waiting: 0, unpacking: 0, ready, failed, stopped: total - ready - failed }
    : { waiting: total - begun, unpacking: begun - ready - failed, ready, failed, stopped: 0 };
}

/** Why it waits, or why no further node begins. */
function noteOf(record: PullRecord): string | undefined {
  const { id, state, nodes, pace, paused, stopped } = record;
  const { total, ready, failed } = nodes;
  if (total === 0 || ready + failed === total) return record.note;
  if (stopped !== undefined) return stopped.message;
  const { canary, maxFailures } = pace;
  if (failed > 0 && canary !== undefined && ready < canary) {
    return `stopped: a canary failed, no further node begins`;
  }
  if (maxFailures !== undefined && failed > maxFailures) {
    return `stopped: ${failed} nodes failed, more than ${maxFailures}: no further node begins`;
  }
  if (isFinished(state)) return record.note;
  if (paused) return `paused: no further node begins before dray pulls resume ${id}`;
  return record.note;
}

/** Why bytes stand still that no living worker is at. */
function noteOfLost(transfers: Map<Digest, Transfer>): string | undefined {
  const lost = [...transfers].filter(([, { isAttended }]) => !isAttended);
  const [first] = lost;
  if (first === undefined) return undefined;
  const others = lost.length > 1 ? ` and ${lost.length - 1} more` : '';
  return `the worker that fetched ${first[0].slice(0, 19)}${others} is gone: another one goes on within about 15 s`;
}

function blobStatus(
  record: PullRecord,
  blob: PlannedBlob,
  missing: Digest[],
  transfers: Map<Digest, Transfer>,
): BlobStatus {
  const { descriptor, kind, existed } = blob;
  const { error } = record;
  const isMissing = missing.includes(descriptor.digest);
  const failed = error?.context?.digest === descriptor.digest;
  const moved = transfers.get(descriptor.digest)?.bytes;
  let state: BlobState = 'stored';
  if (failed) state = 'failed';
  else if (isMissing) state = moved === undefined ? 'waiting' : 'fetching';
  return {
    descriptor,
    kind,
    state,
    bytes: isMissing ? (moved ?? 0) : descriptor.size,
    existed,
    ...(failed && error !== undefined ? { error } : {}),
  };
}
