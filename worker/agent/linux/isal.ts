import koffi from 'koffi';
import type { Decoded, Decoder } from './decoder.ts';
import { openLibrary } from './library.ts';

/** Offsets in `struct inflate_state` of libisal.so.2 (igzip_lib.h). */
const at = {
  nextOut: 0,
  availOut: 8,
  nextIn: 16,
  availIn: 32,
  blockState: 21160,
  crcFlag: 21172,
} as const;
/** The structure has some 87 KB; the rest is room for later versions. */
const stateSize = 256 * 1024;
/** ISAL_BLOCK_FINISH of `enum isal_block_state`. */
const finished = 5;
/** ISAL_GZIP: header and trailer belong to the stream, the checksum is verified. */
const gzip = 1;

const errors: Record<number, string> = {
  [-1]: 'invalid deflate block',
  [-2]: 'invalid deflate symbol',
  [-3]: 'invalid lookback distance',
  [-4]: 'invalid gzip header',
  [-5]: 'unsupported compression method',
  [-6]: 'wrong checksum or size',
};

/** Gzip by ISA-L, the library behind igzip. */
export class IsalDecoder implements Decoder {
  readonly #library: IsalLibrary;
  readonly #state = Buffer.alloc(stateSize);
  #fresh = true;

  private constructor(library: IsalLibrary) {
    this.#library = library;
  }

  /** Undefined where the library is missing or is not as this code knows it. */
  static open(): IsalDecoder | undefined {
    const library = loadLibrary();
    return library === undefined ? undefined : new IsalDecoder(library);
  }

  decode(input: Uint8Array, output: Uint8Array): Decoded {
    const state = this.#state;
    if (this.#fresh) {
      this.#library.init(state);
      state.writeUInt32LE(gzip, at.crcFlag);
      this.#fresh = false;
    }
    state.writeBigUInt64LE(output.length > 0 ? koffi.address(output) : 0n, at.nextOut);
    state.writeUInt32LE(output.length, at.availOut);
    state.writeBigUInt64LE(input.length > 0 ? koffi.address(input) : 0n, at.nextIn);
    state.writeUInt32LE(input.length, at.availIn);
    const result: number = this.#library.inflate(state);
    if (result < 0) throw new Error(errors[result] ?? `isal_inflate answered ${result}`);
    const ended = state.readUInt32LE(at.blockState) === finished;
    if (ended) this.#fresh = true;
    return {
      consumed: input.length - state.readUInt32LE(at.availIn),
      produced: output.length - state.readUInt32LE(at.availOut),
      ended,
    };
  }

  [Symbol.dispose](): void {}
}

interface IsalLibrary {
  init(state: Buffer): void;
  inflate(state: Buffer): number;
}

let loaded: IsalLibrary | undefined | null = null;

function loadLibrary(): IsalLibrary | undefined {
  if (loaded === null) loaded = tryLoad();
  return loaded;
}

function tryLoad(): IsalLibrary | undefined {
  try {
    const library = openLibrary('libisal.so.2');
    const init = library.func('void isal_inflate_init(void *state)');
    const inflate = library.func('int isal_inflate(void *state)');
    return isAsKnown({ init, inflate }) ? { init, inflate } : undefined;
  } catch {
    return undefined;
  }
}

/** Whether the offsets hold: the state after an init over a filled structure. */
function isAsKnown({ init }: IsalLibrary): boolean {
  const state = Buffer.alloc(stateSize, 0xaa);
  init(state);
  const zeroed = [at.blockState, at.blockState + 4, at.blockState + 8, at.crcFlag, at.crcFlag + 4];
  return (
    zeroed.every((offset) => state.readUInt32LE(offset) === 0) &&
    state.readUInt32LE(at.blockState - 4) === 0xaaaaaaaa
  );
}
