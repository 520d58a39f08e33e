import { once } from 'node:events';
import { connect, type Socket } from 'node:net';

export interface RawAnswer {
  status: number;
  /** With the status line, as it came. */
  head: string;
}

const end = '\r\n\r\n';
/** Milliseconds. */
const patience = 60_000;

/**
 * One HTTP/1.1 request, sent again and again over one connection that is kept: as little as can be done for it, since a
 * generator of load takes the cores of what it measures. It reads answers whole, and only those with a Content-Length.
 */
export class RawClient implements Disposable {
  readonly #socket: Socket;
  readonly #request: Buffer;
  #received = '';
  #waiting: PromiseWithResolvers<RawAnswer> | undefined;

  private constructor(socket: Socket, request: Buffer) {
    this.#socket = socket;
    this.#request = request;
    socket.setNoDelay(true);
    socket.setEncoding('latin1');
    socket.setTimeout(patience, () => socket.destroy(new Error('no answer in a minute')));
    socket.on('data', (text: string) => this.#read(text));
    socket.on('error', (error) => this.#waiting?.reject(error));
    socket.on('close', () => this.#waiting?.reject(new Error('the connection was closed')));
  }

  /** @param headers with what the body needs but its length */
  static async open(
    url: string,
    request: { method: string; path: string; headers: Record<string, string>; body: string },
  ): Promise<RawClient> {
    const { hostname, port, host } = new URL(url);
    const socket = connect(Number(port), hostname);
    await once(socket, 'connect');
    const body = Buffer.from(request.body);
    const lines = [
      `${request.method} ${request.path} HTTP/1.1`,
      `host: ${host}`,
      `content-length: ${body.length}`,
      ...Object.entries(request.headers).map(([name, value]) => `${name}: ${value}`),
    ];
    return new RawClient(socket, Buffer.concat([Buffer.from(lines.join('\r\n') + end), body]));
  }

  /** Whether nothing can be sent any more. */
  get isClosed(): boolean {
    return this.#socket.destroyed;
  }

  /** Sends the request. One at a time. @throws when the connection is closed, before or meanwhile */
  async send(): Promise<RawAnswer> {
    // What is written to such a socket is dropped, and nothing is said of it.
    if (this.isClosed) throw new Error('the connection was closed');
    const waiting = Promise.withResolvers<RawAnswer>();
    this.#waiting = waiting;
    this.#socket.write(this.#request);
    return await waiting.promise;
  }

  [Symbol.dispose]() {
    this.#waiting = undefined;
    this.#socket.destroy();
  }

  #read(text: string) {
    this.#received += text;
    const at = this.#received.indexOf(end);
    if (at < 0) return;
    const head = this.#received.slice(0, at);
    const length = Number(/\r\ncontent-length: (\d+)/i.exec(head)?.[1]);
    const waiting = this.#waiting;
    if (Number.isNaN(length)) {
      this.#socket.destroy();
      waiting?.reject(new Error(`an answer without Content-Length: ${head}`));
      return;
    }
    if (this.#received.length < at + end.length + length) return;
    this.#received = '';
    this.#waiting = undefined;
    waiting?.resolve({ status: Number(head.slice(9, 12)), head });
  }
}
