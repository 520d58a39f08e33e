import type { PullStatus } from '../../../shared/pull/status.ts';
import { manyNodes } from './lines.ts';
import type { ProgressView } from './view.ts';

/** Milliseconds between two lines at least, where they are long. */
const interval = 1_000;

/** Each state of the pull as one JSON object a line, for programs; of one with many nodes, one a second. */
export class JsonView implements ProgressView {
  readonly #stream: { write: (text: string) => unknown };
  #last = '';
  #writtenAt = Number.NEGATIVE_INFINITY;

  constructor(options: { stream: { write: (text: string) => unknown } }) {
    this.#stream = options.stream;
  }

  update(status: PullStatus): void {
    const now = performance.now();
    if (status.nodes.length > manyNodes && now - this.#writtenAt < interval) return;
    this.#writtenAt = now;
    this.#write(status);
  }

  finish(status: PullStatus): void {
    this.#write(status);
  }

  say(line: string): void {
    this.#stream.write(`${line}\n`);
  }

  #write(status: PullStatus): void {
    const text = JSON.stringify(status);
    if (text !== this.#last) this.#stream.write(`${text}\n`);
    this.#last = text;
  }

  [Symbol.dispose](): void {}
}
