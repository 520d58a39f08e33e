import { randomBytes } from 'node:crypto';
import type { Config } from '../../../shared/config/config.ts';
import { putBytes, readVerified } from '../../../shared/content/blob.ts';
import type { ContentStore } from '../../../shared/content/store.ts';
import { DrayError, messageOf } from '../../../shared/errors.ts';
import { digestOf } from '../../../shared/image/digest.ts';
import { connectRedis, queueError, type Redis } from '../../../shared/queue/connection.ts';
import { countWorkers } from '../count-workers.ts';
import { formatBytes } from '../output.ts';
import { type Check, failed, type Outcome, ok, skipped, warning } from './check.ts';

/** Milliseconds of skew that certificates and tokens with a short life stand. */
const tolerableSkew = 2_000;
/** Part of its memory from which on a Redis is called nearly full. */
const nearlyFull = 0.85;

/** What all programs of a fleet stand on: Redis and the store. */
export function fleetChecks(config: Config): Check[] {
  return [
    { name: 'redis', look: () => withRedis(config, redisAnswers) },
    { name: 'redis settings', look: () => withRedis(config, redisSettings) },
    { name: 'redis memory', look: () => withRedis(config, redisMemory) },
    { name: 'clock', look: () => withRedis(config, clock) },
    { name: 'workers', look: () => withRedis(config, (redis) => workers(redis, config)) },
    { name: 'store', look: () => withStore(config, storeKeeps) },
    ...(config.store.kind === 's3'
      ? [{ name: 'store conditions', look: () => storeConditions(config) }]
      : []),
  ];
}

async function withRedis(
  { redis: target }: Config,
  look: (redis: Redis) => Promise<Outcome>,
): Promise<Outcome> {
  const redis = connectRedis(target, { name: 'doctor' });
  try {
    return await look(redis);
  } catch (error) {
    throw queueError(error, target, redis);
  } finally {
    redis.disconnect();
  }
}

async function redisAnswers(redis: Redis): Promise<Outcome> {
  const { redis_version: version = '' } = await infoOf(redis, 'server');
  // Not the first command, which waits for the connection.
  const begun = performance.now();
  await redis.ping();
  const took = (performance.now() - begun).toFixed(1);
  const [major = 0, minor = 0] = version.split('.').map(Number);
  if (major > 6 || (major === 6 && minor >= 2)) return ok(`Redis ${version} answers in ${took} ms`);
  return failed(`Redis ${version} is too old`, 'Install Redis 6.2 or newer; 7 is what is tested.');
}

async function redisSettings(redis: Redis): Promise<Outcome> {
  const { maxmemory_policy: policy = '' } = await infoOf(redis, 'memory');
  const persistence = await infoOf(redis, 'persistence');
  const wrong = [
    ...(policy === 'noeviction'
      ? []
      : [
          {
            found: `maxmemory-policy is ${policy}: Redis drops jobs when its memory is short`,
            setting: 'maxmemory-policy noeviction',
          },
        ]),
    ...(persistence.aof_enabled === '1'
      ? []
      : [{ found: 'appendonly is no: accepted pulls die with Redis', setting: 'appendonly yes' }]),
  ];
  if (wrong.length > 0) {
    const commands = wrong.map(({ setting }) => `redis-cli config set ${setting}`);
    return failed(
      wrong.map(({ found }) => found).join('; '),
      `Set it: ${commands.join('; ')}; and in redis.conf.`,
    );
  }
  if (persistence.aof_last_write_status !== 'ok') {
    return failed('Redis can not write its append-only file', 'Free space on its disk.');
  }
  return ok('appendonly yes, maxmemory-policy noeviction');
}

async function redisMemory(redis: Redis): Promise<Outcome> {
  const info = await infoOf(redis, 'memory');
  const [used, most] = [Number(info.used_memory), Number(info.maxmemory)];
  if (most === 0) return ok(`${formatBytes(used)} used, no limit of its own`);
  const found = `${formatBytes(used)} of ${formatBytes(most)} used`;
  if (used < most * nearlyFull) return ok(found);
  return warning(found, 'Raise maxmemory: when it is full, new pulls are refused.');
}

async function clock(redis: Redis): Promise<Outcome> {
  const begun = Date.now();
  const [seconds, micros] = await redis.time();
  const middle = (begun + Date.now()) / 2;
  const skew = middle - (Number(seconds) * 1_000 + Number(micros) / 1_000);
  const found = `${(Math.abs(skew) / 1_000).toFixed(1)} s ${skew < 0 ? 'behind' : 'ahead of'} that of Redis`;
  if (Math.abs(skew) < tolerableSkew) return ok(found);
  return warning(
    found,
    'Synchronize both clocks (chrony, systemd-timesyncd): ages and times are wrong.',
  );
}

async function workers(redis: Redis, { redis: { prefix } }: Config): Promise<Outcome> {
  const count = await countWorkers(redis, prefix);
  if (count === undefined) return skipped('this user of Redis may not list who is connected');
  if (count > 0) return ok(count === 1 ? 'one takes jobs' : `${count} take jobs`);
  return warning('none takes jobs: no pull goes on', 'Start one, on any machine: dray worker');
}

async function infoOf(redis: Redis, section: string): Promise<Record<string, string>> {
  const text = await redis.info(section);
  return Object.fromEntries(
    text.split('\r\n').flatMap((line) => {
      const colon = line.indexOf(':');
      return colon < 1 ? [] : [[line.slice(0, colon), line.slice(colon + 1)]];
    }),
  ) as Record<string, string>;
}

async function withStore(
  config: Config,
  look: (content: ContentStore, place: string) => Promise<Outcome>,
): Promise<Outcome> {
  const { openStore } = await import('../../../shared/content/open.ts');
  await using store = await openStore(config.store);
  return await look(store.content, store.describe());
}

/** A blob of a few bytes, all the way: nothing else shows that the store may be written, read and cleaned. */
async function storeKeeps(content: ContentStore, place: string): Promise<Outcome> {
  const bytes = randomBytes(64);
  const mediaType = 'application/octet-stream';
  const descriptor = { mediaType, digest: digestOf(bytes), size: bytes.length };
  const begun = performance.now();
  await putBytes(content, descriptor, bytes, {});
  try {
    await readVerified(content, descriptor, { maxBytes: bytes.length });
  } finally {
    await content.remove(descriptor.digest);
  }
  const took = (performance.now() - begun).toFixed(0);
  return ok(`${place}: a blob was put, read and removed in ${took} ms`);
}

async function storeConditions({ store }: Config): Promise<Outcome> {
  if (store.kind !== 's3') throw new DrayError('INTERNAL', 'only a bucket has conditions');
  const { Bucket } = await import('../../../shared/content/s3/bucket.ts');
  const bucket = new Bucket(store);
  const key = `${store.prefix}doctor/${randomBytes(8).toString('hex')}`;
  try {
    await bucket.put(key, 'first', { ifAbsent: true });
    const second = await bucket.put(key, 'second', { ifAbsent: true });
    if (second === undefined) return ok('an object that is there is not put again (If-None-Match)');
    return warning(
      'the server ignores If-None-Match',
      'Blobs may be written twice, and never wrongly; a server that heeds it saves that.',
    );
  } finally {
    await bucket.remove(key, {}).catch(() => {});
    bucket.close();
  }
}

/** What a check threw, as its outcome. */
export function outcomeOf(error: unknown): Outcome {
  const known = error instanceof DrayError ? error : undefined;
  return failed(messageOf(error), known?.hint ?? 'See what the message says.');
}
