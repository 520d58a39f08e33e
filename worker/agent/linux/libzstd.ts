import koffi from 'koffi';
import type { Decoded, Decoder } from './decoder.ts';
import { openLibrary } from './library.ts';

/** ZSTD_d_windowLogMax, and the largest window that is decoded: 128 MiB, what `zstd -d` takes as it comes. */
const windowLogMax = { parameter: 100, value: 27 } as const;

/** zstd, with skippable frames (RFC 8878). */
export class ZstdDecoder implements Decoder {
  readonly #library = loadLibrary();
  readonly #context: unknown;
  /** ZSTD_inBuffer and ZSTD_outBuffer: address, size, position. */
  readonly #input = Buffer.alloc(24);
  readonly #output = Buffer.alloc(24);

  constructor() {
    this.#context = this.#library.create();
    const { parameter, value } = windowLogMax;
    this.#check(this.#library.setParameter(this.#context, parameter, value));
  }

  decode(input: Uint8Array, output: Uint8Array): Decoded {
    fill(this.#input, input);
    fill(this.#output, output);
    const hint = this.#library.decompress(this.#context, this.#output, this.#input);
    this.#check(hint);
    return {
      consumed: Number(this.#input.readBigUInt64LE(16)),
      produced: Number(this.#output.readBigUInt64LE(16)),
      ended: Number(hint) === 0,
    };
  }

  #check(result: number | bigint): void {
    if (this.#library.isError(result)) throw new Error(this.#library.errorName(result));
  }

  [Symbol.dispose](): void {
    this.#library.free(this.#context);
  }
}

function fill(buffer: Buffer, data: Uint8Array): void {
  buffer.writeBigUInt64LE(data.length > 0 ? koffi.address(data) : 0n, 0);
  buffer.writeBigUInt64LE(BigInt(data.length), 8);
  buffer.writeBigUInt64LE(0n, 16);
}

interface ZstdLibrary {
  create(): unknown;
  setParameter(context: unknown, parameter: number, value: number): number | bigint;
  decompress(context: unknown, output: Buffer, input: Buffer): number | bigint;
  isError(result: number | bigint): number;
  errorName(result: number | bigint): string;
  free(context: unknown): void;
}

let loaded: ZstdLibrary | undefined;

function loadLibrary(): ZstdLibrary {
  if (loaded === undefined) {
    const library = openLibrary('libzstd.so.1');
    loaded = {
      create: library.func('void *ZSTD_createDCtx()'),
      setParameter: library.func('size_t ZSTD_DCtx_setParameter(void *dctx, int param, int value)'),
      decompress: library.func('size_t ZSTD_decompressStream(void *dctx, void *out, void *in)'),
      isError: library.func('uint32_t ZSTD_isError(size_t code)'),
      errorName: library.func('const char *ZSTD_getErrorName(size_t code)'),
      free: library.func('size_t ZSTD_freeDCtx(void *dctx)'),
    };
  }
  return loaded;
}
