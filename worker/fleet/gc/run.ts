import { randomUUID } from 'node:crypto';
import { DrayError } from '../../../shared/errors.ts';
import type { Redis } from '../../../shared/queue/connection.ts';
import { type Keys, keysOf } from '../../../shared/queue/names.ts';
import { clock } from '../../../shared/queue/script.ts';

/** Milliseconds after which a collector that died may be replaced. */
const life = 10_000;
const renewal = 3_000;
/** Milliseconds for which what is doomed is not relied on by anybody; and those within which it must be removed. */
const doom = 10_000;
const removalTime = 5_000;

/** KEYS: run, doomed. ARGV: token, milliseconds. Returns when the run began, or false while another one goes on. */
const beginScript = `${clock}
if not redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2]) then return false end
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', now)
return now
`;

/** KEYS: run. ARGV: token, milliseconds. */
const renewScript = `if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('PEXPIRE', KEYS[1], ARGV[2]) end`;
const endScript = `if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end`;

/**
 * KEYS: run, doomed, the leases of each id. ARGV: token, when the run began, milliseconds of the doom (0: none), ids.
 * Returns the ids that nobody has relied on since then; false when the run is not ours any more.
 */
const doomScript = `${clock}
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return false end
local free = {}
for i = 3, #KEYS do
  local id = ARGV[i + 1]
  if redis.call('ZCOUNT', KEYS[i], ARGV[2], '+inf') == 0 then
    if tonumber(ARGV[3]) > 0 then redis.call('ZADD', KEYS[2], now + ARGV[3], id) end
    table.insert(free, id)
  end
end
return free
`;

/** One collection of garbage in the store; there is one in the fleet at a time. */
export class GcRun implements AsyncDisposable {
  readonly #redis: Redis;
  readonly #keys: Keys;
  readonly #token: string;
  readonly #begun: number;
  readonly #renewing: NodeJS.Timeout;

  private constructor(redis: Redis, keys: Keys, token: string, begun: number) {
    this.#redis = redis;
    this.#keys = keys;
    this.#token = token;
    this.#begun = begun;
    this.#renewing = setInterval(() => {
      this.#redis.eval(renewScript, 1, keys.gcRun, token, life).catch(() => {
        // What is to be removed is asked for: that fails when the run is lost.
      });
    }, renewal);
  }

  /** Begins a run; undefined while another one goes on. */
  static async begin(redis: Redis, prefix: string): Promise<GcRun | undefined> {
    const keys = keysOf(prefix);
    const token = randomUUID();
    const begun = await redis.eval(beginScript, 2, keys.gcRun, keys.gcDoomed, token, life);
    return begun === null ? undefined : new GcRun(redis, keys, token, Number(begun));
  }

  /**
   * Removes what nobody has relied on since the run began, or tells only what that would be.
   * @returns the ids that were free; each was removed unless `remove` threw, which is told to `failed`
   * @throws CONFLICT when the run is not ours any more
   */
  async removeFree(
    ids: readonly string[],
    remove: (id: string, options: { signal: AbortSignal }) => Promise<void>,
    options: { dryRun: boolean; failed: (id: string, error: unknown) => void },
  ): Promise<string[]> {
    const { gcRun, gcDoomed } = this.#keys;
    const leases = ids.map((id) => this.#keys.contentLease(id));
    const signal = AbortSignal.timeout(removalTime);
    const free = (await this.#redis.eval(
      doomScript,
      leases.length + 2,
      ...[gcRun, gcDoomed, ...leases],
      ...[this.#token, this.#begun, options.dryRun ? 0 : doom, ...ids],
    )) as string[] | null;
    if (free === null) {
      throw new DrayError('CONFLICT', 'This collection of garbage is not the fleet’s any more', {
        hint: 'Redis lost it, or it stood still for too long. The next one begins anew.',
      });
    }
    if (options.dryRun || free.length === 0) return free;
    const removed = await Promise.all(
      free.map(async (id) => {
        try {
          signal.throwIfAborted();
          await remove(id, { signal });
          return id;
        } catch (error) {
          options.failed(id, error);
          return undefined;
        }
      }),
    );
    // What became of the others is not known: they stay doomed for a while.
    const done = removed.filter((id) => id !== undefined);
    if (done.length > 0) await this.#redis.zrem(gcDoomed, ...done);
    return done;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    clearInterval(this.#renewing);
    await this.#redis.eval(endScript, 1, this.#keys.gcRun, this.#token).catch(() => {});
  }
}
