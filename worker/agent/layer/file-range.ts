import type { FileRange } from '../../../shared/content/store.ts';

const doubleBytes = 8;
const rangeBytes = 3 * doubleBytes;

/** Writes a range where another thread reads it. @returns its bytes there */
export function writeRange(slot: Buffer, { fd, position, length }: FileRange): number {
  [fd, position, length].forEach((number, index) => {
    slot.writeDoubleLE(number, index * doubleBytes);
  });
  return rangeBytes;
}

export function readRange(slot: Buffer): FileRange {
  return {
    fd: slot.readDoubleLE(0),
    position: slot.readDoubleLE(doubleBytes),
    length: slot.readDoubleLE(2 * doubleBytes),
  };
}
