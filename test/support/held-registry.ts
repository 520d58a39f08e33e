import { once } from 'node:events';
import http from 'node:http';
import type { AddressInfo } from 'node:net';

/** A way to a registry on which requests can be held back. */
export interface HeldRegistry extends AsyncDisposable {
  /** `localhost:PORT`. */
  host: string;
  /** Holds back every request whose path ends so, until it is let go. */
  hold: (end: string) => HeldRequests;
}

export interface HeldRequests {
  /** Resolves when the first has come. */
  reached: Promise<void>;
  letGo: () => void;
}

/** @param target `localhost:PORT` of a registry that is spoken to by plain http */
export async function startHeldRegistry(target: string): Promise<HeldRegistry> {
  const holds = new Map<string, { reach: () => void; gone: Promise<void> }>();
  const server = http.createServer((request, response) => {
    const { method = '', url = '', headers } = request;
    const held = [...holds].find(([end]) => url.endsWith(end))?.[1];
    held?.reach();
    const forward = () => {
      const port = Number(target.split(':')[1]);
      const onward = http.request({ host: 'localhost', port, path: url, method, headers });
      onward.on('error', () => response.destroy());
      onward.on('response', (answer) => {
        response.writeHead(answer.statusCode ?? 502, answer.headers);
        answer.pipe(response);
      });
      request.pipe(onward);
    };
    if (held === undefined) forward();
    else void held.gone.then(forward);
  });
  // A handshake of TLS is no request.
  server.on('clientError', (_error, socket) => socket.destroy());
  server.listen(0, 'localhost');
  await once(server, 'listening');
  return {
    host: `localhost:${(server.address() as AddressInfo).port}`,
    hold: (end) => {
      const reached = Promise.withResolvers<void>();
      const gone = Promise.withResolvers<void>();
      holds.set(end, { reach: reached.resolve, gone: gone.promise });
      return {
        reached: reached.promise,
        letGo: () => {
          holds.delete(end);
          gone.resolve();
        },
      };
    },
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
}
