import { setTimeout as sleep } from 'node:timers/promises';
import { duplicate, type Redis } from '../queue/connection.ts';
import { headOf } from './head.ts';
import { decodeNode } from './node-record.ts';
import { stopped } from './pull-nodes.ts';
import { imageFor } from './record.ts';
import type { PullRecords } from './records.ts';
import { countNodes, isFinished, type NodeStatus, type PullStatus } from './status.ts';

/** How often a follower looks at the bytes of running transfers, in milliseconds. */
const transferInterval = 100;
/** How long a follower waits for an event at most, in milliseconds. */
const eventInterval = 1_000;
/** Events that are read at once. */
const batch = 1_000;
/** With more nodes than these, a follower takes what happens within {@link transferInterval} together. */
const manyNodes = 16;

/** A pull as it stands, and what of it is new. */
export interface PullView {
  /** The id of the latest change that the status has in it. */
  change: string;
  status: PullStatus;
  /** The nodes that have changed since the view before; undefined: all may have. */
  changed: NodeStatus[] | undefined;
}

/**
 * Follows a pull to its end: as it stands, at once, then after changes and while bytes move, about ten times a second
 * at most. With `after`, the id of a change that was got before, the first view has what is newer: whoever comes back
 * misses nothing. Each change costs the same however many nodes there are.
 * Ends after a finished state, when the pull is gone, or when `signal` aborts.
 */
export async function* followPull(
  services: { redis: Redis; records: PullRecords },
  id: string,
  options: { signal?: AbortSignal; after?: string },
): AsyncIterable<PullView> {
  const { redis, records } = services;
  const { signal, after } = options;
  const connection = duplicate(redis);
  const stop = () => connection.disconnect();
  signal?.addEventListener('abort', stop, { once: true });
  try {
    const stream = records.keys.pullEvents(id);
    // Read before the pull, which then has at least this change in it.
    let change = (await redis.xrevrange(stream, '+', '-', 'COUNT', 1))[0]?.[0] ?? '0-0';
    let record = await records.get(id);
    if (record === undefined) return;
    let head = await headOf(record, records);
    const tree = new Map<string, NodeStatus>();
    for (const node of await records.nodes.all(record)) tree.set(node.name, node);
    const missed = after === undefined ? undefined : await namesSince(redis, stream, after);
    let changed = missed?.flatMap((name) => tree.get(name) ?? []);
    let isNew = after === undefined || after !== change;
    for (;;) {
      const isOver = isFinished(head.state);
      const isMoving = head.blobs.some(({ state }) => state === 'fetching');
      if (isNew || isMoving || isOver) {
        const nodes = [...tree.values()];
        const counts = tree.size === 0 ? head.counts : countNodes(nodes);
        yield { change, status: { ...head, counts, nodes }, changed };
      }
      if (isOver || (signal?.aborted ?? false)) return;
      if (tree.size > manyNodes) await sleep(transferInterval, undefined, options).catch(() => {});
      const entries = await connection
        .xread(
          ...(['COUNT', batch, 'BLOCK', isMoving ? transferInterval : eventInterval] as const),
          ...(['STREAMS', stream, change] as const),
        )
        .catch((error: unknown) => {
          if (!(signal?.aborted ?? false)) throw error;
          return null;
        });
      if (signal?.aborted ?? false) return;
      const events = (entries?.[0]?.[1] ?? []).map(([at, fields]) => ({ at, fields }));
      isNew = events.length > 0;
      change = events.at(-1)?.at ?? change;
      if (isMoving || events.length === 0 || events.some(({ fields }) => fields[0] !== 'node')) {
        record = await records.get(id);
        if (record === undefined) return;
        // A change that brings no event, as the end of Redis's memory of them, is seen by its state.
        isNew ||= record.state !== head.state;
        head = await headOf(record, records);
      }
      // All that its nodes have said was said before its end.
      if (isFinished(record.state)) {
        const rest = await redis.xrange(stream, `(${change}`, '+');
        events.push(...rest.map(([at, fields]) => ({ at, fields })));
        change = events.at(-1)?.at ?? change;
      }
      const before = new Map<string, NodeStatus>();
      for (const { fields } of events) {
        const [kind, name, , value] = fields;
        if (kind !== 'node' || name === undefined || value === undefined) continue;
        const { platform } = tree.get(name) ?? {};
        const node = platform === undefined ? { name } : { name, platform };
        before.set(name, decodeNode(node, value, imageFor(record, node)?.layers ?? []));
      }
      if (isFinished(record.state)) {
        for (const [name, node] of tree) {
          const last = stopped(before.get(name) ?? node);
          if (last !== node) before.set(name, last);
        }
      }
      for (const [name, node] of before) tree.set(name, node);
      changed = [...before.values()];
    }
  } finally {
    signal?.removeEventListener('abort', stop);
    connection.disconnect();
  }
}

/** The nodes of which a stream tells after a change; undefined when it does not go back that far (any more). */
async function namesSince(
  redis: Redis,
  stream: string,
  after: string,
): Promise<string[] | undefined> {
  const entries = await redis.xrange(stream, after, '+');
  if (entries[0]?.[0] !== after) return undefined;
  const names = entries.slice(1).flatMap(([, [kind, name]]) => (kind === 'node' ? [name] : []));
  return [...new Set(names.filter((name) => name !== undefined))];
}
