import { closeSync, constants, openSync } from 'node:fs';
import { basename, dirname } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import koffi from 'koffi';
import { checked, cPath, libc, systemError } from './libc.ts';

const cSocket = libc.func('int socket(int domain, int type, int protocol)');
const cConnect = libc.func('int connect(int fd, const void *address, uint32_t size)');
const cShutdown = libc.func('int shutdown(int fd, int how)');
const cSend = libc.func('long send(int fd, const void *data, unsigned long size, int flags)');

const unix = 1;
const seqpacket = 5;
const nonblock = 0o4000;
const closeOnExec = 0o2000000;
/** MSG_DONTWAIT and MSG_NOSIGNAL. */
const sendFlags = 0x40 | 0x4000;
const shutdownRead = 0;

const { EAGAIN = 11, EPIPE = 32, ECONNRESET = 104, ENOTCONN = 107 } = koffi.os.errno;
/** Milliseconds until a full socket is tried again. */
const retryInterval = 2;

/** One direction of a connection by packets (SOCK_SEQPACKET), which Node's own sockets do not speak. */
export class PacketWriter implements Disposable {
  #fd: number;

  /** Connects to a socket, of a path of any length. @throws an Error with the errno's name as `code` */
  constructor(path: string) {
    const folder = openSync(dirname(path), constants.O_RDONLY | constants.O_DIRECTORY);
    try {
      this.#fd = checked(cSocket(unix, seqpacket | nonblock | closeOnExec, 0), 'socket');
      try {
        const name = cPath(`/proc/self/fd/${folder}/${basename(path)}`);
        const address = Buffer.concat([Buffer.of(unix, 0), name]);
        checked(cConnect(this.#fd, address, address.length), 'connect', path);
        // Nothing is read: whoever writes to it is told so, instead of waiting for a reader.
        checked(cShutdown(this.#fd, shutdownRead), 'shutdown', path);
      } catch (error) {
        closeSync(this.#fd);
        throw error;
      }
    } finally {
      closeSync(folder);
    }
  }

  /** Sends one packet, waiting while the other side has no room. @returns false when it is gone */
  async send(packet: Uint8Array): Promise<boolean> {
    for (;;) {
      if (this.#fd === -1) return false;
      if (Number(cSend(this.#fd, packet, packet.length, sendFlags)) >= 0) return true;
      const errno = koffi.errno();
      if (errno === EPIPE || errno === ECONNRESET || errno === ENOTCONN) return false;
      if (errno !== EAGAIN) throw systemError('send', errno);
      await sleep(retryInterval);
    }
  }

  [Symbol.dispose](): void {
    if (this.#fd !== -1) closeSync(this.#fd);
    this.#fd = -1;
  }
}
