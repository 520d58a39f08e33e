import { constants } from 'node:os';

/** Turns Ctrl-C and its like into an abort, until it is disposed. A second one ends the process at once. */
export class Interrupt implements Disposable {
  readonly #controller = new AbortController();
  readonly #handlers: [NodeJS.Signals, () => void][] = [];
  #name: NodeJS.Signals | undefined;

  constructor() {
    for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
      const handler = () => {
        if (this.#name !== undefined) process.exit(128 + constants.signals[name]);
        this.#name = name;
        this.#controller.abort();
      };
      process.on(name, handler);
      this.#handlers.push([name, handler]);
    }
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  /** 128 + the number of the signal that came. */
  get exitCode(): number {
    return 128 + constants.signals[this.#name ?? 'SIGINT'];
  }

  [Symbol.dispose](): void {
    for (const [name, handler] of this.#handlers) process.off(name, handler);
  }
}
