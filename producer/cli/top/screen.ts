import type { ReadStream, WriteStream } from 'node:tty';

const enter = '\x1b[?1049h\x1b[?25l';
const leave = '\x1b[?25h\x1b[?1049l';

/**
 * The whole terminal, until it is disposed: what stood there before comes back then, also when the process ends
 * otherwise. Keys come as they are typed.
 */
export class Screen implements Disposable {
  readonly #input: ReadStream;
  readonly #output: WriteStream;
  readonly #onExit = () => this.#restore();
  readonly #onKey: (bytes: Buffer) => void;
  readonly #onResize: () => void;
  #isLeft = false;

  constructor(
    streams: { input: ReadStream; output: WriteStream },
    listen: { key: (key: string) => void; resize: () => void },
  ) {
    this.#input = streams.input;
    this.#output = streams.output;
    this.#onKey = (bytes) => {
      for (const key of bytes.toString()) listen.key(key);
    };
    this.#onResize = listen.resize;
    this.#output.write(enter);
    process.on('exit', this.#onExit);
    this.#output.on('resize', this.#onResize);
    if (this.#input.isTTY) {
      this.#input.setRawMode(true);
      this.#input.on('data', this.#onKey);
    }
  }

  get size(): { width: number; height: number } {
    return { width: this.#output.columns || 80, height: this.#output.rows || 24 };
  }

  /** Draws over what is there: nothing flickers. */
  draw(lines: readonly string[]): void {
    const rows = lines.map((line) => `${line}\x1b[K`).join('\r\n');
    this.#output.write(`\x1b[H${rows}\x1b[J`);
  }

  [Symbol.dispose](): void {
    process.off('exit', this.#onExit);
    this.#output.off('resize', this.#onResize);
    this.#input.off('data', this.#onKey);
    this.#restore();
    this.#input.pause();
  }

  #restore(): void {
    if (this.#isLeft) return;
    this.#isLeft = true;
    if (this.#input.isTTY) this.#input.setRawMode(false);
    this.#output.write(leave);
  }
}
