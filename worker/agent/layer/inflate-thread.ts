/** A worker thread: compressed bytes to uncompressed ones. */
import { closeSync, openSync, readSync } from 'node:fs';
import { readRange } from './file-range.ts';
import { inflate, type Pull } from './inflate.ts';
import { invalid } from './limits.ts';
import { Cancelled, Ring } from './ring.ts';
import { serveThread } from './serve-thread.ts';

const readSize = 512 * 1024;

serveThread(({ input, limits }, output) => {
  if ('ring' in input) {
    const ring = new Ring(input.ring);
    const pull = input.holds === 'bytes' ? pullRing(ring) : pullRanges(ring, output);
    return { inflate: inflate(pull, output, limits) };
  }
  const fd = openSync(input.file, 'r');
  try {
    return { inflate: inflate(pullFile(fd, output), output, limits) };
  } finally {
    closeSync(fd);
  }
});

function pullFile(fd: number, output: Ring): Pull {
  const buffer = Buffer.allocUnsafeSlow(readSize);
  return () => {
    if (output.cancelled) throw new Cancelled();
    const length = readSync(fd, buffer, 0, readSize, null);
    return length === 0 ? undefined : buffer.subarray(0, length);
  };
}

function pullRing(ring: Ring): Pull {
  let holding = false;
  return () => {
    if (holding) ring.release(0);
    const chunk = ring.next(0);
    holding = chunk !== undefined;
    return chunk;
  };
}

/** Reads each range to its end before the next one is asked for. */
function pullRanges(ring: Ring, output: Ring): Pull {
  const buffer = Buffer.allocUnsafeSlow(readSize);
  let range = { fd: -1, position: 0, length: 0 };
  let holding = false;
  return () => {
    if (output.cancelled) throw new Cancelled();
    while (range.length === 0) {
      if (holding) ring.release(0);
      const slot = ring.next(0);
      holding = slot !== undefined;
      if (slot === undefined) return undefined;
      range = readRange(slot);
    }
    const { fd, position } = range;
    const length = readSync(fd, buffer, 0, Math.min(readSize, range.length), position);
    if (length === 0) throw invalid(`The layer was cut at ${position} while it came in`);
    range = { fd, position: position + length, length: range.length - length };
    return buffer.subarray(0, length);
  };
}
