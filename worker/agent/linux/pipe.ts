import { checked, libc } from './libc.ts';

const cPipe2 = libc.func('int pipe2(void *ends, int flags)');
const closeOnExec = 0o2000000;

/** Both ends of a new pipe. Each reader and writer decides for itself whether it waits in its calls. */
export function makePipe(): { read: number; write: number } {
  const ends = Buffer.alloc(8);
  checked(cPipe2(ends, closeOnExec), 'pipe2');
  return { read: ends.readInt32LE(0), write: ends.readInt32LE(4) };
}
