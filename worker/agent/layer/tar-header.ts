/** The fields of a tar header that stands in a buffer at a place. */
import { parseNumber } from './tar-numbers.ts';

/** Bytes of a header, and of what else an archive is made of. */
export const blockSize = 512;

/** The name in a header; that of a ustar header has a first part elsewhere. */
export function headerName(block: Buffer, at: number): string {
  const name = headerText(block, at, 100);
  // "ustar\0": the old GNU format has other things where ustar has the prefix, and a blank here.
  if (block[at + 262] !== 0 || block.toString('latin1', at + 257, at + 262) !== 'ustar')
    return name;
  const isStar = block.toString('latin1', at + 508, at + 512) === 'tar\0';
  const prefix = headerText(block, at + 345, isStar ? 131 : 155);
  return prefix === '' ? name : `${prefix}/${name}`;
}

/** A field up to its first NUL. */
export function headerText(block: Buffer, start: number, length: number): string {
  let end = start;
  while (end < start + length && block[end] !== 0) end++;
  return block.toString('latin1', start, end);
}

export function isZero(block: Buffer, at: number): boolean {
  for (let index = at; index < at + blockSize; index++) if (block[index] !== 0) return false;
  return true;
}

/**
 * Whether a header has its own checksum: the sum of its bytes, with that field as blanks; old writers summed them
 * as signed.
 */
export function hasChecksum(block: Buffer, at: number): boolean {
  let unsigned = 0;
  let high = 0;
  for (let index = at; index < at + blockSize; index++) {
    const byte = block[index] ?? 0;
    unsigned += byte;
    high += byte >> 7;
  }
  for (let index = at + 148; index < at + 156; index++) {
    const byte = block[index] ?? 0;
    unsigned += 0x20 - byte;
    high -= byte >> 7;
  }
  const given = checksumAt(block, at + 148);
  return given === unsigned || given === unsigned - 256 * high;
}

function checksumAt(block: Buffer, at: number): number | undefined {
  try {
    return parseNumber(block, at, 8, 'checksum');
  } catch {
    return undefined;
  }
}
