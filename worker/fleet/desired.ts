import { setTimeout as sleep } from 'node:timers/promises';
import {
  type DesiredSet,
  type DesiredVersion,
  hasEnded,
  manifestFor,
} from '../../shared/desired/desired-set.ts';
import type { DesiredSets } from '../../shared/desired/desired-sets.ts';
import { parseSchedule } from '../../shared/desired/schedule.ts';
import { lackingOf } from '../../shared/desired/set-status.ts';
import type { Digest } from '../../shared/image/digest.ts';
import type { Logger } from '../../shared/logging.ts';
import { listNodes, type NodeInfo } from '../../shared/node/registry.ts';
import { selectNodes } from '../../shared/node/select.ts';
import { parseSelector } from '../../shared/node/selector.ts';
import { placesFor } from '../../shared/pull/accept.ts';
import type { PullRecord } from '../../shared/pull/record.ts';
import type { PullRecords } from '../../shared/pull/records.ts';
import { isFinished } from '../../shared/pull/status.ts';
import type { Redis } from '../../shared/queue/connection.ts';
import type { JobQueues } from '../../shared/queue/jobs.ts';

/** Milliseconds between two rounds; one worker of the fleet does each. */
const interval = 3_000;
/** Milliseconds between two looks at whether the copy of the records is what the store has. */
const copyInterval = 600_000;
/** Milliseconds after which a node that failed is tried again: doubling, up to the longest. */
const firstRetry = 60_000;
const longestRetry = 3_600_000;

export interface DesiredServices {
  redis: Redis;
  prefix: string;
  records: PullRecords;
  desired: DesiredSets;
  queues: JobQueues;
  log: Logger;
}

/**
 * Brings nodes to what the desired sets say: nodes that joined later and match, nodes that have lost an image, and
 * all of them when a tag has moved on, which is looked at as the set's schedule says. Every round compares what there
 * is with what shall be, so that nothing depends on what an earlier one did. Ends when `signal` aborts.
 */
export async function keepDesiredForever(
  services: DesiredServices,
  options: { signal: AbortSignal },
): Promise<void> {
  const { redis, records, desired, log } = services;
  let copiedAt = 0;
  while (!options.signal.aborted) {
    try {
      const lock = records.keys.desiredLock;
      if ((await redis.set(lock, process.pid, 'PX', interval, 'NX')) === 'OK') {
        if (Date.now() - copiedAt > copyInterval) {
          await desired.copy(options);
          copiedAt = Date.now();
        }
        await keepDesired(services, options);
      }
    } catch (error) {
      if (!options.signal.aborted) log.warn({ err: error }, 'keeping desired sets failed');
    }
    await sleep(interval, undefined, options).catch(() => {});
  }
}

/** One round over all desired sets. */
async function keepDesired(
  services: DesiredServices,
  options: { signal: AbortSignal },
): Promise<void> {
  const { redis, prefix, desired, log } = services;
  const sets = await desired.list(options);
  if (sets.length === 0) return;
  const nodes = await listNodes(redis, prefix);
  for (const set of sets) {
    options.signal.throwIfAborted();
    if (hasEnded(set)) {
      // Somebody may have made it anew since the copy was read.
      const now = await desired.get(set.name, options);
      if (now !== undefined && !hasEnded(now)) continue;
      log.info({ desired: set.name }, 'a desired set has ended');
      await desired.remove(set.name, options);
      continue;
    }
    await keepSet(set, nodes, services).catch((error: unknown) => {
      log.warn({ err: error, desired: set.name }, 'keeping a desired set failed');
    });
  }
}

async function keepSet(
  set: DesiredSet,
  nodes: readonly NodeInfo[],
  services: DesiredServices,
): Promise<void> {
  const { redis, prefix } = services;
  const busy = await nodesUnderWay(set, services);
  await lookAgain(set, busy === undefined, services);
  const { current } = set;
  if (current === undefined) return;
  const members = selectNodes(nodes, parseSelector(set.selector), set.platform).chosen.filter(
    ({ name, platform }) =>
      busy?.has(name) !== true && manifestFor(current, platform) !== undefined,
  );
  const lacking = await lackingOf(current, members, { redis, prefix });
  if (lacking.length === 0) return;
  const due = await dueNodes(set, current.manifest.digest, lacking, services);
  if (due.length > 0) await rollOut(set, current, due, services);
}

/**
 * The nodes that pulls of a set bring to it already, and notes which nodes have failed. Undefined when no pull of it
 * is under way.
 */
async function nodesUnderWay(
  set: DesiredSet,
  services: DesiredServices,
): Promise<Set<string> | undefined> {
  const { redis, records } = services;
  const key = records.keys.desiredPulls(set.name);
  const ids = await redis.smembers(key);
  const busy = new Set<string>();
  let isAny = false;
  for (const id of ids) {
    const record = await records.get(id);
    if (record !== undefined && !isFinished(record.state)) {
      isAny = true;
      for (const name of await records.nodes.underWay(id)) busy.add(name);
      continue;
    }
    if (record !== undefined) await noteFailures(set, record, services);
    await redis.srem(key, id);
  }
  return isAny ? busy : undefined;
}

/** Asks the registry for the tag again when it is time, or when nobody knows what it is. */
async function lookAgain(
  set: DesiredSet,
  isIdle: boolean,
  services: DesiredServices,
): Promise<void> {
  const { redis, records, queues } = services;
  const { name, reference, platform, priority, credential, schedule, current, createdAt } = set;
  if (!isIdle) return;
  const key = records.keys.desiredLooked;
  const looked = Number((await redis.hget(key, name)) ?? 0);
  const last = new Date(Math.max(looked, current?.since.getTime() ?? 0, createdAt.getTime()));
  // One that was never resolved, since whoever made it died, or the registry was away, is looked at again by and by.
  const next =
    current === undefined
      ? new Date(looked === 0 ? 0 : looked + firstRetry)
      : schedule === undefined
        ? undefined
        : parseSchedule(schedule).next(last);
  if (next === undefined || next.getTime() > Date.now()) return;
  await redis.hset(key, name, Date.now());
  const id = await records.create({
    ...{ reference, platform, nodes: [], want: 'manifest', policy: 'always', priority },
    ...{ desired: name },
    ...(credential === undefined ? {} : { credential }),
  });
  await queues.add([{ queue: 'resolve', pull: id, priority, isNew: true }]);
}

async function rollOut(
  set: DesiredSet,
  { target, since }: DesiredVersion,
  nodes: readonly NodeInfo[],
  services: DesiredServices,
): Promise<void> {
  const { records, queues, log } = services;
  const { name, reference, platform, priority, credential, pace } = set;
  const id = await records.create({
    ...{ reference, platform, want: 'image', policy: 'missing', priority, pace },
    ...placesFor(nodes, platform),
    ...{ desired: name, given: { target, askedAt: since } },
    ...(credential === undefined ? {} : { credential }),
  });
  await queues.add([{ queue: 'resolve', pull: id, priority, isNew: true }]);
  log.info({ desired: name, pull: id, nodes: nodes.length }, 'nodes are brought to a desired set');
}

/** What is remembered of a node that failed. */
interface Retry {
  manifest: string;
  tries: number;
  at: number;
}

async function noteFailures(
  set: DesiredSet,
  record: PullRecord,
  { redis, records }: DesiredServices,
): Promise<void> {
  const manifest = record.manifest?.digest;
  if (manifest === undefined) return;
  const key = records.keys.desiredRetries(set.name);
  for (const { name, state, error } of await records.nodes.all(record)) {
    // One that was lost, or drained, is tried again when it is there again.
    if (state !== 'failed' || error?.code === 'NODE_LOST' || error?.code === 'CONFLICT') continue;
    const before = parseRetry(await redis.hget(key, name));
    const tries = before?.manifest === manifest ? before.tries + 1 : 1;
    const at = Date.now() + Math.min(firstRetry * 2 ** (tries - 1), longestRetry);
    await redis.hset(key, name, JSON.stringify({ manifest, tries, at } satisfies Retry));
  }
}

/** Those of some nodes whose time has come: all that have not failed with this version. */
async function dueNodes(
  set: DesiredSet,
  manifest: Digest,
  nodes: readonly NodeInfo[],
  { redis, records }: DesiredServices,
): Promise<NodeInfo[]> {
  const names = nodes.map(({ name }) => name);
  const values = await redis.hmget(records.keys.desiredRetries(set.name), ...names);
  return nodes.filter((_, i) => {
    const retry = parseRetry(values[i]);
    return retry === undefined || retry.manifest !== manifest || retry.at <= Date.now();
  });
}

function parseRetry(text: string | null | undefined): Retry | undefined {
  return text === null || text === undefined ? undefined : (JSON.parse(text) as Retry);
}
