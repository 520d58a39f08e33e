import { DrayError } from '../../../shared/errors.ts';
import type { BlobSink } from './sink.ts';

/**
 * A part of a blob that comes ahead of its turn: kept in memory until the bytes before it are stored. It is copied
 * into one buffer, for use again: many small ones that live for a while would keep the garbage collector busy.
 */
export class Part implements BlobSink {
  readonly buffer: Buffer;
  readonly #start: number;
  #filled = 0;
  #ended: { error?: unknown } | undefined;
  #wake = Promise.withResolvers<void>();

  /**
   * @param buffer which has room for the part
   * @param fetch brings the bytes from `start` on
   */
  constructor(
    start: number,
    buffer: Buffer,
    options: { signal: AbortSignal },
    fetch: (part: BlobSink, options: { signal: AbortSignal }) => Promise<void>,
  ) {
    this.#start = start;
    this.buffer = buffer;
    fetch(this, options).then(
      () => this.#end({}),
      (error: unknown) => this.#end({ error }),
    );
  }

  get offset(): number {
    return this.#start + this.#filled;
  }

  write(chunk: Uint8Array): undefined {
    this.buffer.set(chunk, this.#filled);
    this.#filled += chunk.length;
    this.#wake.resolve();
  }

  async reset(): Promise<void> {
    throw new DrayError('REGISTRY_PROTOCOL', 'The registry sends the whole blob for a range of it');
  }

  /** The bytes, as they come. @throws what the fetch threw, after those that it brought */
  async *read(): AsyncIterable<Uint8Array> {
    for (let position = 0; ; ) {
      const filled = this.#filled;
      if (position < filled) {
        yield this.buffer.subarray(position, filled);
        position = filled;
      } else if (this.#ended === undefined) {
        await this.#wake.promise;
        this.#wake = Promise.withResolvers();
      } else if ('error' in this.#ended) {
        throw this.#ended.error;
      } else {
        return;
      }
    }
  }

  #end(how: { error?: unknown }): void {
    this.#ended = how;
    this.#wake.resolve();
  }
}
