import { closeSync, openSync, readSync } from 'node:fs';

const pool = Buffer.alloc(1024);
let used = pool.length;

/**
 * Random bytes, at most 1024, as hex digits. They come from the kernel: Node's crypto, its largest module, takes 8 ms to
 * load, which commands would wait for.
 */
export function randomHex(bytes: number): string {
  if (used + bytes > pool.length) {
    const source = openSync('/dev/urandom', 'r');
    try {
      for (let filled = 0; filled < pool.length; ) {
        filled += readSync(source, pool, filled, pool.length - filled, null);
      }
    } finally {
      closeSync(source);
    }
    used = 0;
  }
  const from = used;
  used += bytes;
  return pool.toString('hex', from, used);
}
