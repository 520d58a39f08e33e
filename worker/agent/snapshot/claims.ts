/** Locks by name inside one process: one holder at a time, the others wait in the order of their coming. */
export class Claims {
  readonly #waiting = new Map<string, (() => void)[]>();

  /** Waits for the lock of `key`, which is held until the result is disposed. @throws the signal's reason */
  async take(key: string, options: { signal?: AbortSignal } = {}): Promise<Disposable> {
    const { signal } = options;
    signal?.throwIfAborted();
    const queue = this.#waiting.get(key);
    if (queue === undefined) this.#waiting.set(key, []);
    else {
      await new Promise<void>((resolve, reject) => {
        const enter = () => {
          signal?.removeEventListener('abort', leave);
          resolve();
        };
        const leave = () => {
          queue.splice(queue.indexOf(enter), 1);
          reject(signal?.reason);
        };
        queue.push(enter);
        signal?.addEventListener('abort', leave, { once: true });
      });
    }
    let held = true;
    return {
      [Symbol.dispose]: () => {
        if (held) this.#pass(key);
        held = false;
      },
    };
  }

  #pass(key: string): void {
    const next = this.#waiting.get(key)?.shift();
    if (next === undefined) this.#waiting.delete(key);
    else next();
  }
}
