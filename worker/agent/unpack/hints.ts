import { setMaxListeners } from 'node:events';
import { type Digest, isDigest } from '../../../shared/image/digest.ts';
import { duplicate, type Redis } from '../../../shared/queue/connection.ts';
import type { Keys } from '../../../shared/queue/names.ts';

/** No pull's id. */
const missed = '';

/**
 * What the fleet says as it happens, by publish and subscribe: hints that make waiting short, and that may be lost.
 * Everything they tell can also be read from the store and the records.
 */
export class Hints implements AsyncDisposable {
  readonly #connection: Redis;
  readonly #digests = new Map<Digest, WeakRef<EventTarget>>();
  readonly #ended = new EventTarget();

  constructor(redis: Redis, keys: Keys) {
    this.#connection = duplicate(redis);
    // Every pull that the node is at work on.
    setMaxListeners(0, this.#ended);
    this.#connection.on('message', (channel: string, message: string) => {
      if (channel === keys.ended) this.#ended.dispatchEvent(new Event(message));
      else if (isDigest(message)) {
        this.#digests.get(message)?.deref()?.dispatchEvent(new Event('advanced'));
      }
    });
    // What was said while it was away is not said again.
    this.#connection.on('ready', () => this.#ended.dispatchEvent(new Event(missed)));
    this.#connection.subscribe(keys.advanced, keys.ended).catch(() => {
      // Without hints everything is found by looking; ioredis subscribes again when Redis is back.
    });
  }

  /** Gets an `advanced` event when more of a blob's bytes have been stored. */
  advanced(digest: Digest): EventTarget {
    let target = this.#digests.get(digest)?.deref();
    if (target === undefined) {
      target = new EventTarget();
      // Images share layers: each that waits for this one listens.
      setMaxListeners(0, target);
      this.#digests.set(digest, new WeakRef(target));
      for (const [known, reference] of this.#digests) {
        if (reference.deref() === undefined) this.#digests.delete(known);
      }
    }
    return target;
  }

  /** Calls back when a pull may want something no more. @returns stops listening */
  onEnded(pull: string, listener: () => void): () => void {
    for (const type of [pull, missed]) this.#ended.addEventListener(type, listener);
    return () => {
      for (const type of [pull, missed]) this.#ended.removeEventListener(type, listener);
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#connection.disconnect();
  }
}
