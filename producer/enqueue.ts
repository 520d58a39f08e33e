import type { Config } from '../shared/config.ts';
import { DrayError } from '../shared/errors.ts';
import {
  allPlatforms,
  formatPlatform,
  hostPlatform,
  parsePlatform,
} from '../shared/image/platform.ts';
import { formatReference, parseReference } from '../shared/image/reference.ts';
import { listNodes } from '../shared/node/registry.ts';
import { parsePullPolicy } from '../shared/pull/policy.ts';
import { PullRecords } from '../shared/pull/records.ts';
import type { PullRequest } from '../shared/pull/status.ts';
import { queueError, type Redis } from '../shared/queue/connection.ts';
import { JobQueues } from '../shared/queue/jobs.ts';
import { parseCredentialName } from '../shared/registry/credential-name.ts';

/** Milliseconds: BullMQ's add stays pending while Redis is down, so the deadline is ours. */
const deadline = 5_000;

/**
 * Accepts a pull: once this returns, it is not lost by the death of any process.
 * @returns the pull's id
 * @throws REFERENCE_INVALID, PLATFORM_INVALID, CONFLICT for a key that stands for another request, NOT_FOUND for a node that never registered, QUEUE_UNAVAILABLE
 */
export async function enqueuePull(
  config: Config,
  redis: Redis,
  request: PullRequest,
  options: {
    signal?: AbortSignal;
    /** The same key with the same request, as its caller sent it, is the same pull. */
    idempotency?: { key: string; request: string };
  } = {},
): Promise<string> {
  const reference = formatReference(parseReference(request.reference));
  const platform = platformOf(request);
  const credential =
    request.credential === undefined ? undefined : parseCredentialName(request.credential);
  const { priority = 'normal', policy = 'always' } = request;
  parsePullPolicy(policy);
  const nodes = [...new Set(request.nodes)];
  const limit = AbortSignal.timeout(deadline);
  const signal = options.signal === undefined ? limit : AbortSignal.any([options.signal, limit]);
  try {
    return await abortable(signal, async () => {
      await checkNodes(nodes, redis, config.redis.prefix);
      await using queues = new JobQueues(redis, config.redis.prefix);
      const records = new PullRecords(redis, config.redis.prefix);
      const { idempotency } = options;
      const reserved = idempotency && (await records.reserve(idempotency.key, idempotency.request));
      const whole = {
        ...{ reference, platform, nodes, want: request.want ?? 'image' },
        ...(credential === undefined ? {} : { credential }),
        ...{ priority, policy },
      };
      const id = await records.create(whole, reserved);
      await queues.add([{ queue: 'resolve', pull: id, priority, isNew: true }]);
      return id;
    });
  } catch (error) {
    if (options.signal?.aborted ?? false) throw error;
    throw queueError(error, config.redis, redis);
  }
}

function platformOf({ platform }: PullRequest): string {
  if (platform === allPlatforms) return allPlatforms;
  return formatPlatform(platform === undefined ? hostPlatform() : parsePlatform(platform));
}

async function checkNodes(nodes: string[], redis: Redis, prefix: string): Promise<void> {
  if (nodes.length === 0) return;
  const known = (await listNodes(redis, prefix)).map((node) => node.name);
  const unknown = nodes.filter((node) => !known.includes(node));
  if (unknown.length === 0) return;
  throw new DrayError(
    'NOT_FOUND',
    `No node ${unknown.map((n) => `"${n}"`).join(', ')} in the fleet`,
    {
      hint:
        known.length === 0
          ? 'No agent has registered yet. Start one with: dray agent --node NAME'
          : `The nodes are: ${known.slice(0, 20).join(', ')}.`,
    },
  );
}

async function abortable<T>(signal: AbortSignal, work: () => Promise<T>): Promise<T> {
  const aborted = Promise.withResolvers<never>();
  const abort = () => aborted.reject(signal.reason as Error);
  signal.addEventListener('abort', abort, { once: true });
  try {
    return await Promise.race([work(), aborted.promise]);
  } finally {
    signal.removeEventListener('abort', abort);
  }
}
