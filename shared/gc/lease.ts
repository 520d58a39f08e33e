import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { ContentStore } from '../content/store.ts';
import type { Redis } from '../queue/connection.ts';
import { type Keys, keysOf } from '../queue/names.ts';
import { clock, runScript } from '../queue/script.ts';

/** Milliseconds after which the lease of a dead holder ends; it is renewed three times in that. */
const usualDuration = 60_000;
/** Between two looks whether a removal that goes on is over. */
const poll = 100;
/** Milliseconds for which an ended lease is remembered while garbage is collected: longer than that may take. */
const remembered = 3_600_000;

/**
 * KEYS: doomed, the leases of each id. ARGV: holder, milliseconds, milliseconds to remember, ids.
 * Returns the ids that are being removed right now.
 */
const holdScript = `${clock}
local removing = redis.call('EXISTS', KEYS[1]) == 1
local doomed = {}
for i = 2, #KEYS do
  redis.call('ZADD', KEYS[i], now + ARGV[2], ARGV[1])
  redis.call('PEXPIRE', KEYS[i], ARGV[2] + ARGV[3])
  if removing and tonumber(redis.call('ZSCORE', KEYS[1], ARGV[i + 2]) or 0) > now then
    table.insert(doomed, ARGV[i + 2])
  end
end
return doomed
`;

/**
 * While garbage is collected, the end of a lease is remembered: what was held after the collector began to look may
 * have got a name that it did not see. KEYS: run, the leases of each id. ARGV: holder, milliseconds to remember.
 */
const releaseScript = `${clock}
local collecting = redis.call('EXISTS', KEYS[1]) == 1
for i = 2, #KEYS do
  if collecting then
    redis.call('ZADD', KEYS[i], 'XX', now, ARGV[1])
    redis.call('PEXPIRE', KEYS[i], ARGV[2])
  else
    redis.call('ZREM', KEYS[i], ARGV[1])
  end
end
`;

/**
 * Keeps content from garbage collection while somebody relies on it who has no name for it yet: taken before the store
 * is asked whether it has a blob. What it holds are digests, and names of images. It ends when it is disposed, and a
 * minute after its holder died. How that is safe, see worker/fleet/gc/collect.ts.
 */
export class ContentLease implements AsyncDisposable {
  readonly #redis: Redis;
  readonly #keys: Keys;
  readonly #holder = randomUUID();
  readonly #durationMs: number;
  readonly #held = new Set<string>();
  readonly #renewing: NodeJS.Timeout;
  #next: { all: Set<string>; doomed: Promise<Set<string>> } | undefined;

  constructor(redis: Redis, prefix: string, { durationMs = usualDuration } = {}) {
    this.#redis = redis;
    this.#keys = keysOf(prefix);
    this.#durationMs = durationMs;
    this.#renewing = setInterval(() => {
      this.#hold([...this.#held]).catch(() => {
        // It is renewed the next time; its end costs what is collected meanwhile.
      });
    }, durationMs / 3);
  }

  /** Holds `ids` from now on. What is being removed right now is waited for, so that who asks the store then gets the truth. */
  async hold(ids: readonly string[], options: { signal?: AbortSignal } = {}): Promise<void> {
    const missing = ids.filter((id) => !this.#held.has(id));
    if (missing.length === 0) return;
    for (let doomed = await this.#together(missing); doomed.length > 0; ) {
      await sleep(poll, undefined, options);
      doomed = await this.#hold(doomed);
    }
    for (const id of missing) this.#held.add(id);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    clearInterval(this.#renewing);
    if (this.#held.size === 0) return;
    const leases = [...this.#held].map((id) => this.#keys.contentLease(id));
    const keys = [this.#keys.gcRun, ...leases];
    await runScript(this.#redis, releaseScript, keys, [this.#holder, remembered]).catch(() => {
      // It ends by itself.
    });
  }

  /** What is asked for in one turn goes in one command. @returns those of `ids` that are being removed */
  async #together(ids: string[]): Promise<string[]> {
    if (this.#next === undefined) {
      const all = new Set<string>();
      const doomed = Promise.resolve().then(async () => {
        this.#next = undefined;
        return new Set(await this.#hold([...all]));
      });
      this.#next = { all, doomed };
    }
    const { all, doomed } = this.#next;
    for (const id of ids) all.add(id);
    return [...(await doomed)].filter((id) => ids.includes(id));
  }

  async #hold(ids: string[]): Promise<string[]> {
    if (ids.length === 0) return [];
    const leases = ids.map((id) => this.#keys.contentLease(id));
    const all = [this.#holder, this.#durationMs, remembered, ...ids];
    const keys = [this.#keys.gcDoomed, ...leases];
    return (await runScript(this.#redis, holdScript, keys, all)) as string[];
  }
}

/** A content store that holds what it is asked about. */
export function leasing(content: ContentStore, lease: Pick<ContentLease, 'hold'>): ContentStore {
  return {
    ...content,
    async info(digest, options) {
      await lease.hold([digest], options);
      return await content.info(digest, options);
    },
    async *read(digest, options) {
      await lease.hold([digest], options);
      yield* content.read(digest, options);
    },
    async ingest(descriptor, options) {
      await lease.hold([descriptor.digest], options);
      return await content.ingest(descriptor, options);
    },
  };
}

/** The id under which the name of an image is held. */
export function nameLease(name: string): string {
  return `image ${name}`;
}
