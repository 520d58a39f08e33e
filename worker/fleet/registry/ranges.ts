/** Milliseconds for which a registry that did not go along with ranges is not asked for them. */
const refusedFor = 3600_000;
const mostRemembered = 1000;
/** Connections besides each blob's first one, of all blobs of this process: what bounds the memory for parts ahead. */
const mostExtra = 4;
const extraOfOne = 2;

/** Connections that one blob may have besides its first. Given back when it is disposed. */
export interface Lanes extends Disposable {
  extra: number;
}

/** Remembers which registries answer ranges, and who may have more than one connection. */
export class Ranges {
  /** Until when, by performance.now(). */
  readonly #refused = new Map<string, number>();
  #extra = 0;

  /** More connections for a blob of a registry; undefined when it shall do with one. */
  lanes(registry: string): Lanes | undefined {
    if ((this.#refused.get(registry) ?? 0) > performance.now()) return undefined;
    const extra = Math.min(extraOfOne, mostExtra - this.#extra);
    if (extra === 0) return undefined;
    this.#extra += extra;
    let held = true;
    return {
      extra,
      [Symbol.dispose]: () => {
        if (held) this.#extra -= extra;
        held = false;
      },
    };
  }

  /** The registry does not answer ranges as it should. */
  refused(registry: string): void {
    if (this.#refused.size >= mostRemembered) this.#refused.clear();
    this.#refused.set(registry, performance.now() + refusedFor);
  }
}
