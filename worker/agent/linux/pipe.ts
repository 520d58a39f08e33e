import { checked, libc } from './libc.ts';

const cPipe2 = libc.func('int pipe2(void *ends, int flags)');
const cIoctl = libc.func('int ioctl(int fd, unsigned long request, void *argument)');
/** ioctl_pipe(2): FIONREAD. */
const bytesToRead = 0x541b;
const closeOnExec = 0o2000000;

/** Both ends of a new pipe. Each reader and writer decides for itself whether it waits in its calls. */
export function makePipe(): { read: number; write: number } {
  const ends = Buffer.alloc(8);
  checked(cPipe2(ends, closeOnExec), 'pipe2');
  return { read: ends.readInt32LE(0), write: ends.readInt32LE(4) };
}

/** How many bytes wait in a pipe, by either of its ends. */
export function bytesInPipe(fd: number): number {
  const count = Buffer.alloc(4);
  checked(cIoctl(fd, bytesToRead, count), 'ioctl');
  return count.readInt32LE(0);
}
