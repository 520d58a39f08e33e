import { z } from 'zod';
import { DrayError } from '../errors.ts';
import type { Redis } from '../queue/connection.ts';
import { type Keys, keysOf } from '../queue/names.ts';

const rate = z.number().positive().max(1_000_000);
const count = z.int().min(1).max(1_000_000);
/** Less would look like a registry that trickles. */
const bandwidth = z.int().min(65_536).max(Number.MAX_SAFE_INTEGER);

const schema = z.strictObject({
  requestsPerSecond: rate.optional(),
  burst: count.optional(),
  concurrent: count.optional(),
  bytesPerSecond: bandwidth.optional(),
  workerBytesPerSecond: bandwidth.optional(),
});

/** What the whole fleet may ask of one registry, or of one mirror. What is not set is not limited. */
export interface FleetLimits {
  requestsPerSecond?: number | undefined;
  /** Requests that may come at once, after as long without as they need at that rate; default: a second's. */
  burst?: number | undefined;
  /** Requests under way, each until the end of its answer. */
  concurrent?: number | undefined;
  /** Bytes of blobs, for all workers together. */
  bytesPerSecond?: number | undefined;
  /** Bytes of blobs, for each worker. */
  workerBytesPerSecond?: number | undefined;
}

export interface LimitedRegistry {
  host: string;
  limits: FleetLimits;
  /** What the registry said, some minutes ago at most, that is left of its own limit. */
  quota?: { left: number; limit?: number };
  /** The registry asked for a pause: nobody asks it anything before. */
  pausedUntil?: Date;
}

/**
 * The limits of registries. They stand in Redis, beside the state that they limit: one command sets them for all
 * workers, and counts from the next request on.
 */
export class RegistryLimits {
  readonly #redis: Redis;
  readonly #keys: Keys;

  constructor(redis: Redis, prefix: string) {
    this.#redis = redis;
    this.#keys = keysOf(prefix);
  }

  async get(host: string): Promise<FleetLimits> {
    return decode((await this.#redis.hget(this.#keys.limits, host)) ?? '{}');
  }

  /** Replaces what was set; without any limit, the registry is not limited. @throws USAGE */
  async set(host: string, limits: FleetLimits): Promise<void> {
    const parsed = schema.safeParse(limits);
    if (!parsed.success) {
      const [issue] = parsed.error.issues;
      throw new DrayError('USAGE', `The limit ${issue?.path.join('.')} is not valid`, {
        hint: `${issue?.message}. Bandwidths are at least 65536 bytes a second.`,
      });
    }
    const text = JSON.stringify(parsed.data);
    const transaction = this.#redis.multi();
    if (text === '{}') transaction.hdel(this.#keys.limits, host);
    else transaction.hset(this.#keys.limits, host, text);
    // When those who wait were told to come back is no measure any more.
    const lines = ['front', 'line0', 'line1', 'line2'];
    const { state } = this.#keys.budget(host);
    transaction.hdel(state, ...lines, ...lines.map((line) => `spread:${line}`));
    await transaction.exec();
  }

  /** Registries with limits, of ours or of their own, and those that asked for a pause, by name. */
  async list(): Promise<LimitedRegistry[]> {
    const limited = await this.#redis.hgetall(this.#keys.limits);
    const paused = await this.#redis.zrangebyscore(this.#keys.paused, Date.now(), '+inf');
    const counting = await this.#redis.zrangebyscore(this.#keys.quotas, Date.now(), '+inf');
    const hosts = [...new Set([...Object.keys(limited), ...paused, ...counting])].sort();
    return await Promise.all(
      hosts.map(async (host): Promise<LimitedRegistry> => {
        const keys = this.#keys.budget(host);
        const ms = await this.#redis.pttl(keys.paused);
        const counts = counting.includes(host);
        const [left, limit] = counts ? await this.#redis.hmget(keys.quota, 'left', 'limit') : [];
        return {
          host,
          limits: decode(limited[host] ?? '{}'),
          ...(left
            ? { quota: { left: Number(left), ...(limit ? { limit: Number(limit) } : {}) } }
            : {}),
          ...(ms > 0 ? { pausedUntil: new Date(Date.now() + ms) } : {}),
        };
      }),
    );
  }
}

/** What another version wrote and this one does not know is no limit here. */
function decode(text: string): FleetLimits {
  const parsed = schema.strip().safeParse(JSON.parse(text));
  return parsed.success ? parsed.data : {};
}
