import { Socket } from 'node:net';

/** Bytes that are read at once at most. */
const bufferBytes = 256 << 10;
/**
 * A smaller chunk may end in the middle of an answer's headers, of which the parser keeps what it has read where that
 * stands. Nothing is before them: the next request goes out when the last answer is over. The parser takes 16 KiB of
 * names and values; whoever fills more around those garbles no other's than their own.
 */
const headerBytes = 32 << 10;
const reader = Symbol('reader');

type InPlaceSocket = Socket & { [reader]?: Reader };

/**
 * For the options of a plain connection (`onread` of net): its socket reads into one buffer, again and again. Node
 * would make a new one for each read, of 64 KiB, whose garbage costs CPU and memory. Not for TLS, where Node goes on
 * to write into the buffer after it was told to stop.
 */
export const onread = {
  /** Asked for by each socket that is made: its own. */
  get buffer() {
    let own: Buffer | undefined;
    return () => {
      own ??= Buffer.allocUnsafeSlow(bufferBytes);
      return own;
    };
  },
  callback(this: InPlaceSocket, size: number, buffer: Buffer): boolean {
    return this[reader]?.arrived(buffer.subarray(0, size)) ?? true;
  },
};

/**
 * Gives such a socket's bytes to undici, which reads a socket by `read` and `unshift`: what it reads is gone when it
 * comes back for more. Whoever gets a body's chunks from there uses or copies them at once, or pauses the exchange.
 */
export function readInPlace(socket: InPlaceSocket): void {
  socket[reader] = new Reader(socket);
}

class Reader {
  readonly #socket: Socket;
  #chunk: Buffer | undefined;
  /** Whether the exchange is paused, maybe with a chunk in use. */
  #held = false;
  #stopped = false;

  constructor(socket: Socket) {
    this.#socket = socket;
    socket.read = (size?: number) => (size === 0 ? this.#start(0) : this.#read());
    socket.unshift = (rest: Buffer) => this.#hold(rest);
  }

  /** @returns whether the buffer may be read into again */
  arrived(chunk: Buffer): boolean {
    this.#chunk = chunk.length > headerBytes ? chunk : Buffer.from(chunk);
    this.#socket.emit('readable');
    this.#stopped = this.#held || this.#chunk !== undefined;
    return !this.#stopped;
  }

  #read(): Buffer | null {
    this.#held = false;
    const chunk = this.#chunk;
    this.#chunk = undefined;
    if (chunk !== undefined) return chunk;
    if (this.#stopped) this.#start();
    return null;
  }

  #hold(rest: Buffer): void {
    this.#held = true;
    this.#chunk = rest.length === 0 ? undefined : rest;
  }

  /** As the socket does it, which goes on reading. */
  #start(size?: number): null {
    if (size !== 0) this.#stopped = false;
    return Socket.prototype.read.call(this.#socket, size);
  }
}
