import { DrayError } from '../../../shared/errors.ts';
import type { BlobSink } from './sink.ts';

/** A part of a blob that comes ahead of its turn: kept in memory until the bytes before it are stored. */
export class Part implements BlobSink {
  readonly #stop = new AbortController();
  #offset: number;
  #chunks: Uint8Array[] = [];
  #ended: { error?: unknown } | undefined;
  #wake = Promise.withResolvers<void>();

  /** @param fetch brings the bytes from `start` on */
  constructor(
    start: number,
    options: { signal: AbortSignal },
    fetch: (part: BlobSink, options: { signal: AbortSignal }) => Promise<void>,
  ) {
    this.#offset = start;
    const signal = AbortSignal.any([options.signal, this.#stop.signal]);
    fetch(this, { signal }).then(
      () => this.#end({}),
      (error: unknown) => this.#end({ error }),
    );
  }

  get offset(): number {
    return this.#offset;
  }

  async write(chunk: Uint8Array): Promise<void> {
    this.#chunks.push(chunk);
    this.#offset += chunk.length;
    this.#wake.resolve();
  }

  async reset(): Promise<void> {
    throw new DrayError('REGISTRY_PROTOCOL', 'The registry sends the whole blob for a range of it');
  }

  /** The bytes, as they come. @throws what the fetch threw, after those that it brought */
  async *read(): AsyncIterable<Uint8Array> {
    for (;;) {
      const chunks = this.#chunks;
      this.#chunks = [];
      yield* chunks;
      if (this.#chunks.length > 0) continue;
      if (this.#ended !== undefined) break;
      await this.#wake.promise;
      this.#wake = Promise.withResolvers();
    }
    if ('error' in this.#ended) throw this.#ended.error;
  }

  /** Breaks it off, and drops what came. */
  stop(): void {
    this.#stop.abort();
    this.#chunks = [];
  }

  #end(how: { error?: unknown }): void {
    this.#ended = how;
    this.#wake.resolve();
  }
}
