import { closeSync, constants, openSync } from 'node:fs';
import { checked, libc } from './libc.ts';

const cIoctl = libc.func('int ioctl(int fd, unsigned long request, void *argument)');
const cIoctlNumber = libc.func('int ioctl(int fd, unsigned long request, long argument)');
const cTcgetattr = libc.func('int tcgetattr(int fd, void *settings)');
const cTcsetattr = libc.func('int tcsetattr(int fd, int when, const void *settings)');
const cMakeRaw = libc.func('void cfmakeraw(void *settings)');

/** ioctl_tty(2). */
const unlock = 0x40045431;
const openPeer = 0x5441;
const setWindowSize = 0x5414;
/** More than any `struct termios`. */
const settingsSize = 256;
const closeOnExec = 0o2000000;

/** A pseudo terminal: what is written to one end is read at the other. */
export interface Pty {
  /** The end of who shows the terminal. When it is closed, the other end is hung up. */
  master: number;
  /** The end of a program. */
  slave: number;
}

/** Opens a pseudo terminal that changes nothing on the way: no echo, no line editing, no signals. */
export function openRawPty(): Pty {
  const flags = constants.O_RDWR | constants.O_NOCTTY | closeOnExec;
  const master = openSync('/dev/ptmx', flags);
  try {
    checked(cIoctl(master, unlock, Buffer.alloc(4)), 'ioctl');
    const slave = checked(cIoctlNumber(master, openPeer, flags), 'ioctl');
    const settings = Buffer.alloc(settingsSize);
    checked(cTcgetattr(slave, settings), 'tcgetattr');
    cMakeRaw(settings);
    checked(cTcsetattr(slave, 0, settings), 'tcsetattr');
    return { master, slave };
  } catch (error) {
    closeSync(master);
    throw error;
  }
}

/** Sets the size of a terminal's window; the programs in its foreground get SIGWINCH. */
export function resizePty(fd: number, size: { columns: number; rows: number }): void {
  const argument = Buffer.alloc(8);
  argument.writeUInt16LE(size.rows, 0);
  argument.writeUInt16LE(size.columns, 2);
  checked(cIoctl(fd, setWindowSize, argument), 'ioctl');
}
