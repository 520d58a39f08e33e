import { once } from 'node:events';
import { type AddressInfo, createServer } from 'node:net';
import { request } from 'undici';
import { Agents } from './agents.ts';
import { discard } from './answer.ts';

/** Milliseconds. */
const bound = 2_000;

/**
 * Has the code of connections, TLS and HTTP loaded and compiled before somebody waits for the first request, which
 * would take some 80 ms more. Asks a server of its own on loopback, which does not speak TLS.
 */
export async function warmConnections(options: { signal: AbortSignal }): Promise<void> {
  const agents = new Agents({
    timeouts: { connectMs: bound, headersMs: bound, silenceMs: bound },
  });
  const server = createServer((socket) => {
    socket.on('error', () => {});
    socket.once('data', ([first]) => {
      if (first === tlsHandshake) socket.destroy();
      else socket.end('HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}');
    });
  });
  try {
    server.listen(0, '127.0.0.1');
    await once(server, 'listening', options);
    const { port } = server.address() as AddressInfo;
    const signal = AbortSignal.any([options.signal, AbortSignal.timeout(bound)]);
    for (const scheme of ['https', 'http']) {
      const dispatcher = agents.direct(true, undefined);
      await request(`${scheme}://127.0.0.1:${port}/`, { dispatcher, signal }).then(
        ({ body }) => discard(body),
        () => {},
      );
    }
  } finally {
    server.close();
    await agents.close();
  }
}

/** The first byte of a TLS record of a handshake (RFC 8446, section 5.1). */
const tlsHandshake = 22;
