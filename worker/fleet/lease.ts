import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { ContentStore } from '../../shared/content/store.ts';
import type { Digest } from '../../shared/image/digest.ts';
import type { Redis } from '../../shared/queue/connection.ts';
import { type Keys, keysOf } from '../../shared/queue/names.ts';

/** Milliseconds after which a dead worker's lease ends. */
const duration = 10_000;
const renewal = 3_000;
const poll = 50;

const release = `if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end`;
const renew = `if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('PEXPIRE', KEYS[1], ARGV[2]) end`;

/**
 * One fetch at a time of the small blobs that a resolve step needs at once (manifests, configs), over the whole
 * fleet. Layers have the fetch-blob queue for that. A lease that is lost costs a second fetch, nothing else.
 */
export class FetchLeases {
  readonly #redis: Redis;
  readonly #keys: Keys;
  readonly #content: Pick<ContentStore, 'info'>;

  constructor(redis: Redis, prefix: string, content: Pick<ContentStore, 'info'>) {
    this.#redis = redis;
    this.#keys = keysOf(prefix);
    this.#content = content;
  }

  /** Runs `fetch` unless the blob is in the store, or comes into it by somebody else's hand, which is waited for. */
  async once(
    digest: Digest,
    options: { signal: AbortSignal },
    fetch: () => Promise<void>,
  ): Promise<void> {
    const key = this.#keys.fetchLease(digest);
    const owner = randomUUID();
    for (;;) {
      if ((await this.#content.info(digest, options)) !== undefined) return;
      if ((await this.#redis.set(key, owner, 'PX', duration, 'NX')) === 'OK') break;
      await sleep(poll, undefined, options);
    }
    const renewing = setInterval(() => {
      this.#redis.eval(renew, 1, key, owner, duration).catch(() => {
        // The lease runs out, and somebody else may fetch too: that is allowed.
      });
    }, renewal);
    try {
      if ((await this.#content.info(digest, options)) === undefined) await fetch();
    } finally {
      clearInterval(renewing);
      await this.#redis.eval(release, 1, key, owner).catch(() => {});
    }
  }
}
