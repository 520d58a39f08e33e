import type { Config } from '../config/config.ts';
import { DrayError } from '../errors.ts';
import { type IdempotentRequest, reserveId } from '../idempotency.ts';
import {
  allPlatforms,
  formatPlatform,
  formatPlatforms,
  hostPlatform,
  parsePlatforms,
  platformNames,
} from '../image/platform.ts';
import { formatReference, parseReference } from '../image/reference.ts';
import { getNodes, listNodes, type NodeInfo } from '../node/registry.ts';
import { requireUnmarked, selectNodes } from '../node/select.ts';
import { formatSelector, parseSelector, type Requirement } from '../node/selector.ts';
import { queueError, type Redis } from '../queue/connection.ts';
import { JobQueues } from '../queue/jobs.ts';
import { keysOf } from '../queue/names.ts';
import { parseCredentialName } from '../registry/credential-name.ts';
import { createPull } from './create.ts';
import { headOfNew } from './head.ts';
import { newPullId } from './id.ts';
import { parsePullPolicy } from './policy.ts';
import { waitingNodes } from './pull-nodes.ts';
import type { PullRequest, PullStatus } from './status.ts';

/** Milliseconds: BullMQ's add stays pending while Redis is down, so the deadline is ours. */
const deadline = 5_000;

interface AcceptOptions {
  /** Those of a program that enqueues often; default: opened and closed for this pull. */
  queues?: JobQueues;
  /** Tells the caller what would surprise them: nodes that were left out. */
  say?: (line: string) => void;
  idempotency?: IdempotentRequest;
  /** One that the caller made, and may come with again: it is the same pull then. */
  id?: string;
}

/**
 * As {@link acceptPull}, within a deadline, and unless the caller goes before.
 * @returns the pull's id
 */
export async function enqueuePull(
  config: Config,
  redis: Redis,
  request: PullRequest,
  options: AcceptOptions & { signal?: AbortSignal } = {},
): Promise<string> {
  const { signal } = options;
  try {
    return (await inTime(signal, () => acceptPull(config, redis, request, options))).id;
  } catch (error) {
    if (signal?.aborted ?? false) throw error;
    throw queueError(error, config.redis, redis);
  }
}

/**
 * Accepts a pull: once this returns, it is not lost by the death of any process. While Redis is away this may wait
 * for it, so that the caller sees to a deadline.
 * @returns the pull's id, and the pull as it was accepted, unless its key stands for one that was there
 * @throws REFERENCE_INVALID, PLATFORM_INVALID, CONFLICT for a key that stands for another request, NOT_FOUND for a node that never registered or when no node can be chosen, USAGE, QUEUE_UNAVAILABLE
 */
export async function acceptPull(
  config: Config,
  redis: Redis,
  request: PullRequest,
  options: AcceptOptions = {},
): Promise<{ id: string; created?: PullStatus }> {
  const { queues } = options;
  if (queues === undefined) return await acceptByOwnQueues(config, redis, request, options);
  const reference = formatReference(parseReference(request.reference));
  const selector = request.selector === undefined ? undefined : parseSelector(request.selector);
  if (request.platform !== undefined) parsePlatforms(request.platform);
  const credential =
    request.credential === undefined ? undefined : parseCredentialName(request.credential);
  const { priority = 'normal', policy = 'always' } = request;
  parsePullPolicy(policy);
  const { prefix } = config.redis;
  try {
    const { nodes, platform, platformOf } = await placesOf(
      { ...request, selector },
      config,
      redis,
      options,
    );
    const keys = keysOf(prefix);
    const { idempotency } = options;
    const reserved = idempotency && (await reserveId(redis, keys, idempotency));
    const whole = {
      ...{ reference, platform, nodes, want: request.want ?? 'image' },
      ...(credential === undefined ? {} : { credential }),
      ...{ priority, policy },
      ...(platformOf === undefined ? {} : { platformOf }),
      ...(request.pace === undefined ? {} : { pace: request.pace }),
      ...(request.desired === undefined ? {} : { desired: request.desired }),
      ...(request.webhook === undefined ? {} : { webhook: request.webhook }),
    };
    const id = reserved ?? options.id ?? newPullId();
    const enqueue = () => queues.add([{ queue: 'resolve', pull: id, priority, isNew: true }]);
    // Sent one after the other and waited for together.
    const [{ record, isLate }] = await Promise.all([createPull(redis, keys, whole, id), enqueue()]);
    // The job may have come before its record, and have found nothing to do.
    if (isLate) await enqueue();
    return record === undefined
      ? { id }
      : { id, created: { ...headOfNew(record), nodes: waitingNodes(nodes, platformOf) } };
  } catch (error) {
    throw queueError(error, config.redis, redis);
  }
}

async function acceptByOwnQueues(
  config: Config,
  redis: Redis,
  request: PullRequest,
  options: AcceptOptions,
): ReturnType<typeof acceptPull> {
  await using queues = new JobQueues(redis, config.redis.prefix);
  return await acceptPull(config, redis, request, { ...options, queues });
}

/** Where a pull brings its image. */
export interface Places {
  nodes: string[];
  /** What is brought: one platform, several as formatPlatforms writes them, or all. */
  platform: string;
  /** Of each node its own platform, where more than one is brought. */
  platformOf?: Record<string, string>;
}

/**
 * The nodes that a pull is for, and the platforms of which it brings the image: one that was asked for, whatever the
 * nodes are; else each node gets the image for its own.
 */
export async function placesOf(
  request: Omit<PullRequest, 'selector'> & { selector: readonly Requirement[] | undefined },
  config: Config,
  redis: Redis,
  options: { say?: (line: string) => void },
): Promise<Places> {
  const { selector } = request;
  const asked = request.platform === undefined ? undefined : normalized(request.platform);
  if (selector === undefined && request.nodes.length === 0) return placesFor([], asked);
  const names = [...new Set(request.nodes)];
  if (selector === undefined) {
    const named = await getNodes(redis, config.redis.prefix, names);
    requireUnmarked(named);
    return placesFor(named, asked);
  }
  if (names.length > 0) {
    throw new DrayError('USAGE', 'Nodes are chosen by their names or by a selector, not by both', {
      hint: 'A selector can name nodes, too: name in (node-a,node-b)',
    });
  }
  const all = await listNodes(redis, config.redis.prefix);
  const { chosen, leftOut } = selectNodes(
    all,
    selector,
    asked === allPlatforms ? undefined : asked,
  );
  if (leftOut.length > 0) options.say?.(`left out: ${inWords(leftOut)}`);
  if (chosen.length === 0 && request.desired === undefined) {
    throw new DrayError('NOT_FOUND', `No node can be chosen by "${formatSelector(selector)}"`, {
      hint:
        leftOut.length === 0
          ? 'dray nodes -o wide shows the labels of all nodes.'
          : `These would be, but can't: ${inWords(leftOut)}.`,
    });
  }
  return placesFor(chosen, asked);
}

/** What was asked for, each platform in its usual form. @throws PLATFORM_INVALID */
function normalized(platforms: string): string {
  const parsed = parsePlatforms(platforms);
  return parsed === undefined ? allPlatforms : formatPlatforms(parsed);
}

/**
 * Where a pull brings its image, of nodes that were chosen.
 * @param asked platforms, as formatPlatforms writes them, or all
 * @throws USAGE for a node of none of several platforms that were asked for
 */
export function placesFor(chosen: readonly NodeInfo[], asked: string | undefined): Places {
  if (chosen.length === 0) {
    return { nodes: [], platform: asked ?? formatPlatform(hostPlatform()) };
  }
  const nodes = chosen.map(({ name }) => name);
  const own = [...new Set(chosen.map(({ platform }) => platform))].toSorted();
  const wanted = asked === undefined || asked === allPlatforms ? own : platformNames(asked);
  const platform = asked ?? own.join(',');
  if (asked !== allPlatforms && wanted.length <= 1) return { nodes, platform };
  const stranger = chosen.find((node) => !wanted.includes(node.platform));
  if (stranger !== undefined) {
    throw new DrayError('USAGE', `${stranger.name} is ${stranger.platform}, not ${asked}`, {
      hint: 'Leave --platform out: each node gets the image for its own. One platform alone is brought to every node.',
    });
  }
  return {
    ...{ nodes, platform },
    platformOf: Object.fromEntries(chosen.map(({ name, platform }) => [name, platform])),
  };
}

function inWords(leftOut: readonly { name: string; why: string }[]): string {
  const shown = leftOut.slice(0, 10).map(({ name, why }) => `${name} (${why})`);
  if (leftOut.length > shown.length) shown.push(`and ${leftOut.length - shown.length} more`);
  return shown.join(', ');
}

/** What comes of `work`, unless the caller goes, or the deadline comes, before. */
async function inTime<T>(signal: AbortSignal | undefined, work: () => Promise<T>): Promise<T> {
  signal?.throwIfAborted();
  const ended = Promise.withResolvers<never>();
  const abort = () => ended.reject(signal?.reason as Error);
  signal?.addEventListener('abort', abort, { once: true });
  const late = () => ended.reject(new DOMException('no answer in time', 'TimeoutError'));
  const timer = setTimeout(late, deadline);
  try {
    return await Promise.race([work(), ended.promise]);
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener('abort', abort);
  }
}
