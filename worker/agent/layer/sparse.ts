import { invalid, limitError } from './limits.ts';
import { type PaxRecords, sparseMapKey } from './pax.ts';
import type { DataRange } from './tar-entry.ts';
import { parseDecimal, parseNumber } from './tar-numbers.ts';

/** The forms in which GNU tar writes files with holes (its manual, "Storing Sparse Files"). */

/**
 * The map in an old GNU header, and in the blocks after it, of which `nextBlock` gives one.
 * @throws LAYER_INVALID, also for other formats: star's has the same type and another layout
 */
export function oldGnuMap(
  header: Buffer,
  start: number,
  nextBlock: () => Buffer,
  maxBytes: number,
): { size: number; map: DataRange[] } {
  if (header.toString('latin1', start + 257, start + 265) !== 'ustar  \0') {
    throw invalid('A sparse file of the layer has a header that is not of the GNU format');
  }
  const size = parseNumber(header, start + 483, 12, 'size');
  const map: DataRange[] = [];
  const take = (block: Buffer, at: number, count: number) => {
    for (let index = 0; index < count; index++) {
      const entry = at + index * 24;
      if (block[entry] === 0) return;
      map.push({
        offset: parseNumber(block, entry, 12, 'sparse offset'),
        length: parseNumber(block, entry + 12, 12, 'sparse length'),
      });
    }
  };
  take(header, start + 386, 4);
  let read = 0;
  for (let extended = header[start + 482] !== 0; extended; ) {
    read += 512;
    if (read > maxBytes) throw beyond(maxBytes);
    const block = nextBlock();
    take(block, 0, 21);
    extended = block[504] !== 0;
  }
  return { size, map };
}

export interface PaxSparse {
  name: string | undefined;
  size: number | undefined;
  /** Undefined when the map stands at the start of the body (format 1.0). */
  map: DataRange[] | undefined;
}

/** What PAX records say of a sparse file; undefined when it is none. @throws LAYER_INVALID for an unknown format */
export function paxSparse(records: PaxRecords): PaxSparse | undefined {
  const major = records.get('GNU.sparse.major') ?? '';
  const minor = records.get('GNU.sparse.minor') ?? '';
  const mapText = records.get(sparseMapKey) ?? '';
  const hasVersion = major !== '' || minor !== '';
  if (!hasVersion && ![...records.keys()].some((key) => key.startsWith('GNU.sparse.')))
    return undefined;
  // 0.0 and 0.1 say no version; a file that is one hole may have an empty map.
  const version = hasVersion ? `${major}.${minor}` : '0.1';
  if (!['0.0', '0.1', '1.0'].includes(version)) {
    throw invalid(`A sparse file of the layer has the unknown format ${version}`);
  }
  const sizeText = records.get('GNU.sparse.size') || records.get('GNU.sparse.realsize');
  return {
    name: records.get('GNU.sparse.name') || undefined,
    size: sizeText === undefined ? undefined : parseDecimal(sizeText, 'sparse size'),
    map: version === '1.0' ? undefined : commaMap(mapText, records.get('GNU.sparse.numblocks')),
  };
}

function commaMap(text: string, countText: string | undefined): DataRange[] {
  const numbers = text === '' ? [] : text.split(',').map((n) => parseDecimal(n, 'sparse map'));
  const count = parseDecimal(countText ?? '', 'sparse count');
  if (numbers.length !== 2 * count) throw invalid('A sparse file of the layer has a broken map');
  return pairs(numbers);
}

/** Reads the map at the start of a body: numbers in lines, padded to a block. */
export function bodyMap(nextBlock: () => Buffer, maxBytes: number): DataRange[] {
  let text = '';
  let read = 0;
  const line = (): number => {
    let end = text.indexOf('\n');
    while (end < 0) {
      if (read >= maxBytes) throw beyond(maxBytes);
      text += nextBlock().toString('latin1', 0, 512);
      read += 512;
      end = text.indexOf('\n');
    }
    const value = parseDecimal(text.slice(0, end), 'sparse map');
    text = text.slice(end + 1);
    return value;
  };
  const count = line();
  if (count < 0) throw invalid('A sparse file of the layer has a broken map');
  const numbers: number[] = [];
  for (let index = 0; index < 2 * count; index++) numbers.push(line());
  return pairs(numbers);
}

function pairs(numbers: readonly number[]): DataRange[] {
  const map: DataRange[] = [];
  for (let index = 0; index + 1 < numbers.length; index += 2) {
    map.push({ offset: numbers[index] ?? 0, length: numbers[index + 1] ?? 0 });
  }
  return map;
}

/** Checks that a map is in order, lies within the file, and holds as much data as there is. @throws LAYER_INVALID */
export function checkMap(map: readonly DataRange[], size: number, stored: number): void {
  if (size < 0) throw invalid('A sparse file of the layer has a negative size');
  let end = 0;
  let data = 0;
  for (const { offset, length } of map) {
    if (offset < end || length < 0 || offset + length > size) {
      throw invalid('A sparse file of the layer has a map that overlaps or goes beyond its end');
    }
    end = offset + length;
    data += length;
  }
  if (data !== stored)
    throw invalid('A sparse file of the layer has a map of another length than its data');
}

function beyond(maxBytes: number) {
  return limitError(
    `A sparse file of the layer has a map of more than the limit of ${maxBytes} bytes`,
  );
}
