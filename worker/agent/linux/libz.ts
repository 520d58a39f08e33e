import koffi from 'koffi';
import type { Decoded, Decoder } from './decoder.ts';
import { openLibrary } from './library.ts';

/** Offsets in `z_stream` on a 64-bit Linux (zlib.h). */
const at = { nextIn: 0, availIn: 8, nextOut: 24, availOut: 32, message: 48 } as const;
const streamSize = 112;
/** The largest window, gzip only. */
const windowBits = 15 + 16;
const [streamEnd, bufferError] = [1, -5];

/** Gzip by zlib. */
export class ZlibDecoder implements Decoder {
  readonly #library = loadLibrary();
  readonly #stream = Buffer.alloc(streamSize);
  #ended = false;

  constructor() {
    const result = this.#library.init(this.#stream, windowBits, '1.2.0', streamSize);
    if (result !== 0) throw new Error(`inflateInit2 answered ${result}`);
  }

  decode(input: Uint8Array, output: Uint8Array): Decoded {
    const stream = this.#stream;
    if (this.#ended) this.#library.reset(stream);
    stream.writeBigUInt64LE(input.length > 0 ? koffi.address(input) : 0n, at.nextIn);
    stream.writeUInt32LE(input.length, at.availIn);
    stream.writeBigUInt64LE(output.length > 0 ? koffi.address(output) : 0n, at.nextOut);
    stream.writeUInt32LE(output.length, at.availOut);
    const result: number = this.#library.inflate(stream, 0);
    if ((result < 0 && result !== bufferError) || result === 2) {
      const message = stream.readBigUInt64LE(at.message);
      throw new Error(
        message === 0n ? `inflate answered ${result}` : String(koffi.decode(message, 'char', -1)),
      );
    }
    this.#ended = result === streamEnd;
    return {
      consumed: input.length - stream.readUInt32LE(at.availIn),
      produced: output.length - stream.readUInt32LE(at.availOut),
      ended: this.#ended,
    };
  }

  [Symbol.dispose](): void {
    this.#library.end(this.#stream);
  }
}

interface ZlibLibrary {
  init(stream: Buffer, windowBits: number, version: string, size: number): number;
  inflate(stream: Buffer, flush: number): number;
  reset(stream: Buffer): number;
  end(stream: Buffer): number;
}

let loaded: ZlibLibrary | undefined;

function loadLibrary(): ZlibLibrary {
  if (loaded === undefined) {
    const library = openLibrary('libz.so.1');
    loaded = {
      init: library.func('int inflateInit2_(void *strm, int bits, const char *version, int size)'),
      inflate: library.func('int inflate(void *strm, int flush)'),
      reset: library.func('int inflateReset(void *strm)'),
      end: library.func('int inflateEnd(void *strm)'),
    };
  }
  return loaded;
}
