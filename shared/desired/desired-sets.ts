import type { CallOptions, ChangingRecords } from '../content/store.ts';
import type { Redis } from '../queue/connection.ts';
import { type Keys, keysOf } from '../queue/names.ts';
import { type DesiredSet, type DesiredVersion, withVersion } from './desired-set.ts';
import { desiredSetForm } from './set-form.ts';

/** Replaces the copy, unless a record was changed meanwhile. ARGV: the version that was read before, then name, record, … */
const copyScript = `
if (redis.call('GET', KEYS[2]) or '0') ~= ARGV[1] then return 0 end
redis.call('DEL', KEYS[1])
for i = 2, #ARGV, 2 do redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1]) end
redis.call('SET', KEYS[3], 1)
return 1
`;

/** The same for one record. ARGV: the version that was read before, the name, the record if there is one */
const copyOneScript = `
if (redis.call('GET', KEYS[2]) or '0') ~= ARGV[1] then return 0 end
if ARGV[3] then redis.call('HSET', KEYS[1], ARGV[2], ARGV[3]) else redis.call('HDEL', KEYS[1], ARGV[2]) end
return 1
`;

/**
 * The desired sets. The content store has the records; Redis has a copy, which the reconciler looks at every few
 * seconds, and which is rebuilt from the store when Redis was wiped.
 */
export class DesiredSets {
  readonly #redis: Redis;
  readonly #keys: Keys;
  readonly #store: ChangingRecords<DesiredSet>;

  constructor(redis: Redis, prefix: string, store: ChangingRecords<DesiredSet>) {
    this.#redis = redis;
    this.#keys = keysOf(prefix);
    this.#store = store;
  }

  /** All of them, by name, from the copy where it is there. */
  async list(options: CallOptions = {}): Promise<DesiredSet[]> {
    if ((await this.#redis.exists(this.#keys.desiredCopied)) === 0) await this.copy(options);
    const values = await this.#redis.hgetall(this.#keys.desired);
    return Object.entries(values)
      .map(([name, value]) => desiredSetForm.decode(value, `${name} in Redis`))
      .sort((a, b) => (a.name < b.name ? -1 : 1));
  }

  /** The record as the store has it. */
  async get(name: string, options: CallOptions = {}): Promise<DesiredSet | undefined> {
    return await this.#store.get(name, options);
  }

  /**
   * Creates a set or changes it, in one step: `change` is given what anybody else made of it until then, and may be
   * called several times. Once this returns, it is not lost by the death of any process, or of Redis.
   * @param change what the set shall be; undefined, or the set that it was given, leaves it as it is
   * @returns whether it was changed
   */
  async update(
    name: string,
    change: (set: DesiredSet | undefined) => DesiredSet | undefined,
    options: CallOptions = {},
  ): Promise<boolean> {
    if (!(await this.#store.update(name, change, options))) return false;
    await this.#redis.incr(this.#keys.desiredVersion);
    await this.#copyOne(name, options);
    return true;
  }

  /** Whether there was such a set. What nodes hold of it stays, until it is collected as garbage. */
  async remove(name: string, options: CallOptions = {}): Promise<boolean> {
    const existed = await this.#store.remove(name, options);
    await this.#redis
      .multi()
      .incr(this.#keys.desiredVersion)
      .hdel(this.#keys.desiredLooked, name)
      .del(this.#keys.desiredPulls(name))
      .del(this.#keys.desiredRetries(name))
      .exec();
    await this.#copyOne(name, options);
    return existed;
  }

  /** A set's reference was resolved: from now on its nodes shall hold that. @returns whether that is new */
  async resolved(
    name: string,
    version: DesiredVersion,
    options: CallOptions = {},
  ): Promise<boolean> {
    return await this.update(name, (set) => set && withVersion(set, version), options);
  }

  /** Brings the copy in line with the store. */
  async copy(options: CallOptions = {}): Promise<void> {
    const version = (await this.#redis.get(this.#keys.desiredVersion)) ?? '0';
    const sets = await this.#store.list(options);
    await this.#redis.eval(
      copyScript,
      3,
      this.#keys.desired,
      this.#keys.desiredVersion,
      this.#keys.desiredCopied,
      version,
      ...sets.flatMap((set) => [set.name, desiredSetForm.encode(set)]),
    );
  }

  /** Brings one record of the copy in line with the store, after whoever else changes it at the same time. */
  async #copyOne(name: string, options: CallOptions): Promise<void> {
    const { desired, desiredVersion } = this.#keys;
    for (let isCopied = false; !isCopied; ) {
      const version = (await this.#redis.get(desiredVersion)) ?? '0';
      const set = await this.#store.get(name, options);
      const record = set === undefined ? [] : [desiredSetForm.encode(set)];
      const done = this.#redis.eval(
        copyOneScript,
        2,
        desired,
        desiredVersion,
        version,
        name,
        ...record,
      );
      isCopied = (await done) === 1;
    }
  }
}
