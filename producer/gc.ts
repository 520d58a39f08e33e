import { DrayError } from '../shared/errors.ts';
import { type GcRequest, GcRequests } from '../shared/gc/requests.ts';
import { type IdempotentRequest, reserveId } from '../shared/idempotency.ts';
import { listNodes } from '../shared/node/registry.ts';
import { newPullId } from '../shared/pull/id.ts';
import type { Redis } from '../shared/queue/connection.ts';
import type { JobQueues } from '../shared/queue/jobs.ts';
import { keysOf } from '../shared/queue/names.ts';

export interface GcDemand {
  dryRun: boolean;
  graceMs?: number;
  /** Which nodes; `all`: those that are heard of. */
  nodes: readonly string[] | 'all';
  store: boolean;
}

/**
 * Has garbage collected, or has it said what would go. What each part found is in {@link GcRequests} once it has
 * answered, for an hour.
 * @throws NOT_FOUND for a node that is not heard of, CONFLICT for a key that stands for another request
 */
export async function requestGc(
  { dryRun, graceMs, nodes: wanted, store }: GcDemand,
  { redis, prefix, queues }: { redis: Redis; prefix: string; queues: JobQueues },
  options: { idempotency?: IdempotentRequest } = {},
): Promise<GcRequest> {
  const { nodes, lost } = await nodesOf(wanted, redis, prefix);
  const requests = new GcRequests(redis, prefix);
  const { idempotency } = options;
  const id =
    idempotency === undefined ? newPullId() : await reserveId(redis, keysOf(prefix), idempotency);
  await requests.keep({
    ...{ id, dryRun, store, nodes, lost, createdAt: new Date() },
    ...(graceMs === undefined ? {} : { graceMs }),
  });
  // What was asked for first, where the key came before.
  const request = await requests.get(id);
  if (request === undefined) throw gcUnknown(id);
  const job = {
    ...({ queue: 'gc', priority: 'high', request: id, dryRun } as const),
    ...(graceMs === undefined ? {} : { graceMs }),
  };
  await queues.add([
    ...(request.store ? [job] : []),
    ...request.nodes.map((node) => ({ ...job, node })),
  ]);
  return request;
}

async function nodesOf(
  wanted: readonly string[] | 'all',
  redis: Redis,
  prefix: string,
): Promise<{ nodes: string[]; lost: string[] }> {
  const known = await listNodes(redis, prefix);
  const lost = known.filter(({ state }) => state === 'lost').map(({ name }) => name);
  const heard = known.map(({ name }) => name).filter((name) => !lost.includes(name));
  if (wanted === 'all') return { nodes: heard, lost };
  const missing = wanted.find((name) => !heard.includes(name));
  if (missing === undefined) return { nodes: [...new Set(wanted)], lost: [] };
  throw new DrayError('NOT_FOUND', `No node "${missing}" is heard of`, {
    hint: 'dray nodes lists the nodes of the fleet.',
  });
}

/** What is said of a collection that is not there, or not any more. */
export function gcUnknown(id: string): DrayError {
  return new DrayError('NOT_FOUND', `There is no collection ${id}`, {
    hint: 'They are kept for an hour. GET /v1/gc lists those that there are.',
  });
}
