import { invalid, type LayerLimits, limitError, shown } from './limits.ts';
import { type PaxRecords, parsePax, xattrsOf } from './pax.ts';
import { bodyMap, checkMap, oldGnuMap, paxSparse } from './sparse.ts';
import type { EntryType, TarEntry } from './tar-entry.ts';
import { blockSize, hasChecksum, headerName, headerText, isZero } from './tar-header.ts';
import { clampTime, parseDecimal, parseNumber, parseTime } from './tar-numbers.ts';

const maxID = 2 ** 32 - 2;

const types: Record<string, EntryType> = {
  '\0': 'file',
  '0': 'file',
  S: 'file',
  '1': 'link',
  '2': 'symlink',
  '3': 'char',
  '4': 'block',
  '5': 'folder',
  '6': 'fifo',
};

/** Uncompressed bytes, in order; undefined at the end. What was returned is no longer used at the next call. */
export type PullBytes = () => Buffer | undefined;

/**
 * A strict reader of tar archives (ustar, PAX, GNU, v7), synchronous, over large buffers. Where formats
 * disagree it does what Go's archive/tar does, on which the other container tools stand.
 */
export class TarReader {
  readonly #pull: PullBytes;
  readonly #limits: Pick<LayerLimits, 'maxBytes' | 'maxHeaderBytes'>;
  #chunk: Buffer = Buffer.alloc(0);
  #at = 0;
  /** Bytes of the body that were not read yet, and of the padding behind it. */
  #left = 0;
  #padding = 0;
  readonly #block = Buffer.alloc(blockSize);
  #started = false;
  #last = '';

  constructor(pull: PullBytes, limits: Pick<LayerLimits, 'maxBytes' | 'maxHeaderBytes'>) {
    this.#pull = pull;
    this.#limits = limits;
  }

  /**
   * The next entry, after whatever is left of the body of the one before; undefined at the end, when all
   * bytes behind the end marker were taken too (they belong to the diffID).
   * @throws LAYER_INVALID, LAYER_LIMIT
   */
  next(): TarEntry | undefined {
    let pax: PaxRecords | undefined;
    let longName = '';
    let longTarget = '';
    for (;;) {
      this.#skip();
      const [block, at] = this.#header();
      if (block === undefined) return undefined;
      const flag = String.fromCharCode(block[at + 156] ?? 0);
      switch (flag) {
        case 'x':
          pax = parsePax(this.#meta(block, at));
          continue;
        case 'g':
          // containerd ignores global headers that are well-formed, and Go forgets what stood before one.
          parsePax(this.#meta(block, at));
          [pax, longName, longTarget] = [undefined, '', ''];
          continue;
        case 'L':
          longName = text(this.#meta(block, at));
          continue;
        case 'K':
          longTarget = text(this.#meta(block, at));
          continue;
        default:
          return this.#entry(block, at, flag, pax, longName, longTarget);
      }
    }
  }

  /** The next bytes of the entry's body; undefined at its end. Valid up to the next call. */
  read(): Buffer | undefined {
    if (this.#left === 0) return undefined;
    this.#require();
    const end = Math.min(this.#chunk.length, this.#at + this.#left);
    const part = this.#chunk.subarray(this.#at, end);
    this.#at = end;
    this.#left -= part.length;
    return part;
  }

  #entry(
    block: Buffer,
    at: number,
    flag: string,
    pax: PaxRecords | undefined,
    longName: string,
    longTarget: string,
  ): TarEntry {
    const path = longName || pax?.get('path') || headerName(block, at);
    this.#last = path;
    let type = types[flag];
    if (type === undefined) {
      throw invalid(`${shown(path)} has the unknown type ${JSON.stringify(flag)}`);
    }
    if (flag === '\0' && path.endsWith('/')) type = 'folder';
    const entry: TarEntry = {
      type,
      path,
      target: longTarget || pax?.get('linkpath') || headerText(block, at + 157, 100),
      mode: parseNumber(block, at + 100, 8, 'mode') & 0o7777,
      uid: this.#id(pax?.get('uid'), block, at + 108, 'uid'),
      gid: this.#id(pax?.get('gid'), block, at + 116, 'gid'),
      size: 0,
      mtime: clampTime(timeOf(pax, block, at)),
      deviceMajor: 0,
      deviceMinor: 0,
      xattrs: pax === undefined ? undefined : xattrsOf(pax),
      sparse: undefined,
    };
    if (type === 'char' || type === 'block') {
      entry.deviceMajor = parseNumber(block, at + 329, 8, 'device number');
      entry.deviceMinor = parseNumber(block, at + 337, 8, 'device number');
    }
    // A size of anything but a file is no body: Go and GNU tar go on with the next header.
    if (type === 'file') this.#body(entry, block, at, flag, pax);
    return entry;
  }

  #body(
    entry: TarEntry,
    block: Buffer,
    at: number,
    flag: string,
    pax: PaxRecords | undefined,
  ): void {
    const paxSize = pax?.get('size');
    const stored = paxSize
      ? parseDecimal(paxSize, 'size')
      : parseNumber(block, at + 124, 12, 'size');
    this.#open(stored);
    entry.size = stored;
    const fromPax = pax === undefined ? undefined : paxSparse(pax);
    if (flag === 'S') {
      // The map's further blocks stand before the body and do not count as such.
      const body = [this.#left, this.#padding] as const;
      [this.#left, this.#padding] = [0, 0];
      const header = Buffer.from(block.subarray(at, at + blockSize));
      const { size, map } = oldGnuMap(
        header,
        0,
        () => this.#nextBlock(),
        this.#limits.maxHeaderBytes,
      );
      [this.#left, this.#padding] = body;
      entry.size = size;
      entry.sparse = map;
    } else if (fromPax !== undefined) {
      entry.path = fromPax.name ?? entry.path;
      entry.size = fromPax.size ?? stored;
      entry.sparse = fromPax.map ?? bodyMap(() => this.#bodyBlock(), this.#limits.maxHeaderBytes);
    }
    if (entry.sparse !== undefined) checkMap(entry.sparse, entry.size, this.#left);
    if (entry.size > this.#limits.maxBytes) {
      throw limitError(`${shown(entry.path)} is longer than ${this.#limits.maxBytes} bytes`);
    }
  }

  /** Sets the length of the body that follows. */
  #open(size: number): void {
    if (!Number.isSafeInteger(size) || size < 0) {
      throw invalid(`${shown(this.#last)} has the size ${size}`);
    }
    this.#left = size;
    this.#padding = -size & (blockSize - 1);
  }

  #id(fromPax: string | undefined, block: Buffer, at: number, field: string): number {
    const id = fromPax ? parseDecimal(fromPax, field) : parseNumber(block, at, 8, field);
    if (id >= 0 && id <= maxID) return id;
    throw invalid(`${shown(this.#last)} has the ${field} ${id}; ${field}s go from 0 to ${maxID}`);
  }

  /** The body of an extended header. */
  #meta(block: Buffer, at: number): Buffer {
    const size = parseNumber(block, at + 124, 12, 'size');
    this.#open(size);
    if (size > this.#limits.maxHeaderBytes) {
      throw limitError(
        `An extended header of the layer has ${size} bytes; the limit is ${this.#limits.maxHeaderBytes}`,
      );
    }
    const body = Buffer.allocUnsafe(size);
    let filled = 0;
    for (let part = this.read(); part !== undefined; part = this.read()) {
      filled += part.copy(body, filled);
    }
    return body;
  }

  /** The next header with its place; none at the end of the archive. */
  #header(): [Buffer, number] | [undefined, 0] {
    const [block, at] = this.#take();
    // Archives without an end marker are accepted, as Go does.
    if (block === undefined) return [undefined, 0];
    if (block[at] === 0 && isZero(block, at)) {
      const [second, start] = this.#take();
      if (second !== undefined && !isZero(second, start)) {
        throw invalid(`A block of zeros stands inside the layer, after ${shown(this.#last)}`);
      }
      this.#drain();
      return [undefined, 0];
    }
    if (!hasChecksum(block, at)) {
      throw invalid(
        this.#started
          ? `A header of the layer has a wrong checksum, after ${shown(this.#last)}`
          : 'The layer is neither a tar archive nor compressed with gzip or zstd',
      );
    }
    this.#started = true;
    return [block, at];
  }

  /** A block, in the chunk itself where it lies in one; undefined at the end. */
  #take(): [Buffer, number] | [undefined, 0] {
    if (this.#at === this.#chunk.length && !this.#more()) return [undefined, 0];
    if (this.#chunk.length - this.#at >= blockSize) {
      const at = this.#at;
      this.#at += blockSize;
      return [this.#chunk, at];
    }
    for (let filled = 0; filled < blockSize; ) {
      this.#require();
      const part = this.#chunk.subarray(this.#at, this.#at + blockSize - filled);
      filled += part.copy(this.#block, filled);
      this.#at += part.length;
    }
    return [this.#block, 0];
  }

  #nextBlock(): Buffer {
    const [block, at] = this.#take();
    if (block === undefined) throw this.#cut();
    return Buffer.from(block.subarray(at, at + blockSize));
  }

  /** A block that is part of the body. */
  #bodyBlock(): Buffer {
    if (this.#left < blockSize) {
      throw invalid(`${shown(this.#last)} is a sparse file without its map`);
    }
    this.#left -= blockSize;
    return this.#nextBlock();
  }

  /** Passes over what is left of the body, and its padding; Go does without that of the last. */
  #skip(): void {
    for (let left = this.#left + this.#padding; left > 0; ) {
      if (left <= this.#padding && this.#at === this.#chunk.length && !this.#more()) break;
      this.#require();
      const part = Math.min(left, this.#chunk.length - this.#at);
      this.#at += part;
      left -= part;
    }
    this.#left = 0;
    this.#padding = 0;
  }

  #drain(): void {
    while (this.#more());
    this.#at = this.#chunk.length;
  }

  #more(): boolean {
    for (;;) {
      const chunk = this.#pull();
      if (chunk === undefined) return false;
      this.#chunk = chunk;
      this.#at = 0;
      if (chunk.length > 0) return true;
    }
  }

  #require(): void {
    if (this.#at === this.#chunk.length && !this.#more()) throw this.#cut();
  }

  #cut() {
    this.#chunk = Buffer.alloc(0);
    this.#at = 0;
    return invalid(
      this.#started
        ? `The layer's archive is cut short, in or after ${shown(this.#last)}`
        : 'The layer is neither a tar archive nor compressed with gzip or zstd',
    );
  }
}

function timeOf(pax: PaxRecords | undefined, block: Buffer, at: number) {
  const mtime = pax?.get('mtime');
  return mtime
    ? parseTime(mtime)
    : { seconds: parseNumber(block, at + 136, 12, 'time'), nanoseconds: 0 };
}

/** A GNU long name: it ends with a NUL, and must not have more after it. */
function text(body: Buffer): string {
  const end = body.indexOf(0);
  if (end < 0) return body.toString('latin1');
  if (body.subarray(end).some((byte) => byte !== 0)) throw invalid('A name in the layer has a NUL');
  return body.toString('latin1', 0, end);
}
