import type { PullStatus } from '../../../shared/pull/status.ts';
import type { ProgressView } from './view.ts';

/** Each state of the pull as one JSON object a line, for programs. */
export class JsonView implements ProgressView {
  readonly #stream: { write: (text: string) => unknown };
  #last = '';

  constructor(options: { stream: { write: (text: string) => unknown } }) {
    this.#stream = options.stream;
  }

  update(status: PullStatus): void {
    const text = JSON.stringify(status);
    if (text !== this.#last) this.#stream.write(`${text}\n`);
    this.#last = text;
  }

  finish(status: PullStatus): void {
    this.update(status);
  }

  [Symbol.dispose](): void {}
}
