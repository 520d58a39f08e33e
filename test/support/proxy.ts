import { once } from 'node:events';
import http from 'node:http';
import { type AddressInfo, connect, type Socket } from 'node:net';

export interface TestProxy {
  /** With its login. */
  url: string;
  /** What it was asked for, by those who logged in: `CONNECT host:port`, `GET http://…`. */
  asked: string[];
  stop: () => Promise<void>;
}

/** An HTTP proxy on loopback that wants a login. Whatever the name, it connects to this machine. */
export async function startProxy(login: { user: string; password: string }): Promise<TestProxy> {
  const expected = `Basic ${Buffer.from(`${login.user}:${login.password}`).toString('base64')}`;
  const asked: string[] = [];
  const sockets = new Set<Socket>();
  const server = http.createServer((request, response) => {
    if (request.headers['proxy-authorization'] !== expected) {
      response.writeHead(407, { 'proxy-authenticate': 'Basic' }).end();
      return;
    }
    const { method = '', url = '' } = request;
    asked.push(`${method} ${url}`);
    const { 'proxy-authorization': _, ...headers } = request.headers;
    const { port, pathname, search } = new URL(url);
    const onward = { host: 'localhost', port, path: pathname + search, method, headers };
    const forwarded = http.request(onward, (answer) => {
      response.writeHead(answer.statusCode ?? 502, answer.headers);
      answer.pipe(response);
    });
    forwarded.on('error', () => response.destroy());
    request.pipe(forwarded);
  });
  server.on('connection', (socket) => {
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket)).on('error', () => {});
  });
  server.on('connect', (request, client: Socket) => {
    if (request.headers['proxy-authorization'] !== expected) {
      client.end('HTTP/1.1 407 Proxy Authentication Required\r\n\r\n');
      return;
    }
    asked.push(`CONNECT ${request.url}`);
    const target = connect(Number(request.url?.split(':').at(-1)), 'localhost', () => {
      client.write('HTTP/1.1 200 OK\r\n\r\n');
      target.pipe(client).pipe(target);
    });
    sockets.add(target);
    target.on('error', () => client.end('HTTP/1.1 502 Bad Gateway\r\n\r\n'));
    target.on('close', () => sockets.delete(target));
  });
  server.listen(0, 'localhost');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://${login.user}:${login.password}@localhost:${port}`,
    asked,
    async stop() {
      for (const socket of sockets) socket.destroy();
      if (!server.listening) return;
      server.close();
      await once(server, 'close');
    },
  };
}
