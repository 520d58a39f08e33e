import { constants } from 'node:os';

const heldBack = ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT'] as const;

/**
 * Keeps the signals that come while a container is being made and started, until it is disposed: they mean the
 * container, which there is not yet. Who can't wait presses Ctrl-C twice, and the agent then lets nothing of it run.
 */
export class HeldSignals implements Disposable {
  readonly #came: NodeJS.Signals[] = [];
  readonly #handlers = heldBack.map((name) => {
    const handler = () => {
      if (this.#came.includes(name)) process.exit(128 + constants.signals[name]);
      this.#came.push(name);
    };
    process.on(name, handler);
    return [name, handler] as const;
  });

  /**
   * Sends what came to this process again, where others listen by now.
   * @param options.keys whether Ctrl-C is a key from now on: the one that came before is forgotten
   */
  pass({ keys }: { keys: boolean }): void {
    this[Symbol.dispose]();
    for (const name of this.#came.splice(0)) {
      if (!(keys && name === 'SIGINT')) process.kill(process.pid, name);
    }
  }

  [Symbol.dispose](): void {
    for (const [name, handler] of this.#handlers) process.off(name, handler);
  }
}
