import { messageOf } from '../../../shared/errors.ts';
import type { Decoder } from '../linux/decoder.ts';
import { type Compression, detectCompression, magicSize, openDecoder } from './compression.ts';
import { invalid, type LayerLimits, limitError, ratioFloor } from './limits.ts';
import type { Ring } from './ring.ts';

/** Compressed bytes, in order; undefined at the end. What was returned is no longer used at the next call. */
export type Pull = () => Uint8Array | undefined;

export interface Inflated {
  compression: Compression;
  /** Uncompressed. */
  bytes: number;
}

/**
 * Decompresses a layer into a ring, blocking. Gzip members and zstd frames may follow each other, and zeros
 * may follow the last; anything else after it, a frame that is cut, and wrong checksums are refused.
 * @throws LAYER_INVALID, LAYER_LIMIT, Cancelled
 */
export function inflate(
  pull: Pull,
  ring: Ring,
  limits: Pick<LayerLimits, 'maxBytes' | 'maxRatio'>,
): Inflated {
  const [start, rest] = peek(pull);
  const compression = detectCompression(start);
  const output = new Output(ring, limits);
  if (compression === 'none') {
    for (let chunk: Uint8Array | undefined = start; chunk !== undefined; chunk = rest()) {
      output.copy(chunk);
    }
  } else {
    using decoder = openDecoder(compression);
    const frames = new Frames(decoder, compression, output);
    for (let chunk: Uint8Array | undefined = start; chunk !== undefined; chunk = rest()) {
      frames.decode(chunk);
    }
    frames.end();
  }
  output.end();
  return { compression, bytes: output.bytes };
}

/** Enough of the first bytes to tell the compression by, and a pull that goes on after them. */
function peek(pull: Pull): [start: Uint8Array, rest: Pull] {
  let start = Buffer.alloc(0);
  while (start.length < magicSize) {
    const chunk = pull();
    if (chunk === undefined) break;
    if (start.length === 0 && chunk.length >= magicSize) return [chunk, pull];
    start = Buffer.concat([start, chunk]);
  }
  return [start, pull];
}

/** The uncompressed side: whole slots, so that the readers wake seldom. */
class Output {
  /** Compressed bytes taken so far. */
  consumed = 0;
  bytes = 0;
  readonly #ring: Ring;
  readonly #limits: Pick<LayerLimits, 'maxBytes' | 'maxRatio'>;
  #slot: Buffer | undefined;
  #filled = 0;

  constructor(ring: Ring, limits: Pick<LayerLimits, 'maxBytes' | 'maxRatio'>) {
    this.#ring = ring;
    this.#limits = limits;
  }

  /** Where the next bytes go: never empty. */
  room(): Buffer {
    if (this.#slot !== undefined && this.#filled === this.#slot.length) this.#publish();
    this.#slot ??= this.#ring.acquire();
    return this.#slot.subarray(this.#filled);
  }

  fill(produced: number): void {
    this.#filled += produced;
    this.bytes += produced;
    const { maxBytes, maxRatio } = this.#limits;
    if (this.bytes > maxBytes) {
      throw limitError(`The layer has more than ${maxBytes} bytes uncompressed`);
    }
    if (this.bytes > ratioFloor && this.bytes > this.consumed * maxRatio) {
      throw limitError(
        `The layer is more than ${maxRatio} times larger uncompressed (${this.bytes} bytes from ${this.consumed})`,
      );
    }
  }

  copy(chunk: Uint8Array): void {
    for (let at = 0; at < chunk.length; ) {
      const room = this.room();
      const part = chunk.subarray(at, at + room.length);
      room.set(part);
      at += part.length;
      this.consumed += part.length;
      this.fill(part.length);
    }
  }

  end(): void {
    if (this.#filled > 0) this.#publish();
    this.#ring.end();
  }

  #publish(): void {
    this.#ring.publish(this.#filled);
    this.#slot = undefined;
    this.#filled = 0;
  }
}

const nothing = new Uint8Array();

class Frames {
  readonly #decoder: Decoder;
  readonly #compression: string;
  readonly #output: Output;
  #complete = 0;
  #inFrame = false;
  #padded = false;

  constructor(decoder: Decoder, compression: string, output: Output) {
    this.#decoder = decoder;
    this.#compression = compression;
    this.#output = output;
  }

  decode(chunk: Uint8Array): void {
    let at = 0;
    while (at < chunk.length) {
      if (!this.#inFrame && this.#complete > 0) {
        const zeros = countZeros(chunk, at);
        this.#padded ||= zeros > 0;
        at += zeros;
        if (at === chunk.length) return;
        if (this.#padded) throw this.#garbage();
      }
      at += this.#step(at === 0 ? chunk : chunk.subarray(at));
    }
  }

  end(): void {
    // What the decoder holds back when its output is full.
    while (this.#inFrame) {
      const before = this.#output.bytes;
      this.#step(nothing);
      if (this.#output.bytes === before) break;
    }
    if (this.#inFrame) throw invalid(`The layer's ${this.#compression} data is cut short`);
  }

  /** @returns how many bytes of the input were taken */
  #step(input: Uint8Array): number {
    const starting = !this.#inFrame;
    this.#inFrame = true;
    try {
      const { consumed, produced, ended } = this.#decoder.decode(input, this.#output.room());
      this.#output.consumed += consumed;
      this.#output.fill(produced);
      if (ended) {
        this.#inFrame = false;
        this.#complete++;
      } else if (consumed === 0 && produced === 0 && input.length > 0) {
        throw new Error('no progress');
      }
      return consumed;
    } catch (error) {
      if (!isDecoderError(error)) throw error;
      if (starting && this.#complete > 0) throw this.#garbage();
      throw invalid(
        `The layer's ${this.#compression} data is broken after ${this.#output.consumed} bytes: ${messageOf(error)}`,
        error,
      );
    }
  }

  #garbage() {
    return invalid(
      `The layer has bytes that are no ${this.#compression} data after its end at ${this.#output.consumed}`,
    );
  }
}

function isDecoderError(error: unknown): boolean {
  return error instanceof Error && error.constructor === Error;
}

function countZeros(chunk: Uint8Array, from: number): number {
  let at = from;
  while (at < chunk.length && chunk[at] === 0) at++;
  return at - from;
}
