import { syncfs } from '../linux/sync.ts';

/**
 * Flushes a file system for all who ask: those who come while a flush is under way, which may have passed over what
 * they wrote, share the next one.
 */
export class Flush {
  #current: Promise<void> | undefined;
  #next: Promise<void> | undefined;
  readonly #sync: (path: string) => Promise<void>;

  constructor(sync: (path: string) => Promise<void> = syncfs) {
    this.#sync = sync;
  }

  /** Resolves when what was written before this call, anywhere in the file system of `path`, is on the disk. */
  everythingSoFar(path: string): Promise<void> {
    if (this.#current === undefined) return this.#begin(path);
    this.#next ??= this.#current
      .catch(() => {})
      .then(() => {
        this.#next = undefined;
        return this.#begin(path);
      });
    return this.#next;
  }

  #begin(path: string): Promise<void> {
    const flushing = this.#sync(path).finally(() => {
      if (this.#current === flushing) this.#current = undefined;
    });
    this.#current = flushing;
    return flushing;
  }
}
