/** A worker thread: compressed bytes to uncompressed ones. */
import { closeSync, openSync, readSync } from 'node:fs';
import { inflate, type Pull } from './inflate.ts';
import { Cancelled, Ring } from './ring.ts';
import { serveThread } from './serve-thread.ts';

const readSize = 512 * 1024;

serveThread(({ input, limits }, output) => {
  if ('ring' in input) {
    return { inflate: inflate(pullRing(new Ring(input.ring)), output, limits) };
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
