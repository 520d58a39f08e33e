import { once } from 'node:events';
import http from 'node:http';
import https from 'node:https';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import type { Issued } from './authority.ts';

export interface TestProxy {
  /** With its login. */
  url: string;
  /** What it was asked for, by those who logged in: `CONNECT host:port`, `GET http://…`. */
  asked: string[];
  stop: () => Promise<void>;
}

interface ProxyLogin {
  user: string;
  password: string;
}

/**
 * An HTTP proxy on loopback that wants a login. Whatever the name, it connects to this machine.
 * @param tls it is spoken to by https
 */
export async function startProxy(login: ProxyLogin, tls?: Issued): Promise<TestProxy> {
  const expected = `Basic ${Buffer.from(`${login.user}:${login.password}`).toString('base64')}`;
  const asked: string[] = [];
  const onRequest: http.RequestListener = (request, response) => {
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
  };
  const server =
    tls === undefined
      ? http.createServer(onRequest)
      : https.createServer({ cert: tls.certificate, key: tls.key }, onRequest);
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
    target.on('error', () => client.end('HTTP/1.1 502 Bad Gateway\r\n\r\n'));
    client.on('close', () => target.destroy());
  });
  const scheme = tls === undefined ? 'http' : 'https';
  return await listening(server, `${scheme}://${login.user}:${login.password}`, asked);
}

/** A SOCKS5 proxy (RFC 1928, with RFC 1929's login) on loopback; it connects to this machine. */
export async function startSocksProxy(login: ProxyLogin): Promise<TestProxy> {
  const asked: string[] = [];
  const server = createServer(async (client) => {
    client.on('error', () => {});
    const bytes = reader(client);
    try {
      const [, methods = 0] = await bytes(2);
      if (!(await bytes(methods)).includes(2)) return void client.end(Buffer.from([5, 255]));
      client.write(Buffer.from([5, 2]));
      const [, userLength = 0] = await bytes(2);
      const user = String(await bytes(userLength));
      const password = String(await bytes((await bytes(1))[0] ?? 0));
      const isUser = user === login.user && password === login.password;
      client.write(Buffer.from([1, isUser ? 0 : 1]));
      if (!isUser) return void client.end();
      const [, , , type = 0] = await bytes(4);
      const host =
        type === 3
          ? String(await bytes((await bytes(1))[0] ?? 0))
          : [...(await bytes(4))].join('.');
      const port = (await bytes(2)).readUInt16BE();
      asked.push(`SOCKS ${host}:${port}`);
      const target = connect(port, 'localhost', () => {
        client.write(Buffer.from([5, 0, 0, 1, 0, 0, 0, 0, 0, 0]));
        target.pipe(client).pipe(target);
      });
      // Connection refused.
      target.on('error', () => client.end(Buffer.from([5, 5, 0, 1, 0, 0, 0, 0, 0, 0])));
      client.on('close', () => target.destroy());
    } catch {
      client.destroy();
    }
  });
  return await listening(server, `socks5://${login.user}:${login.password}`, asked);
}

/** Reads exact numbers of bytes off a socket, which can be piped after. */
function reader(socket: Socket): (count: number) => Promise<Buffer> {
  return async (count) => {
    for (;;) {
      const found: Buffer | null = count === 0 ? Buffer.alloc(0) : socket.read(count);
      if (found !== null) return found;
      if (socket.readableEnded || socket.destroyed) throw new Error('it ended');
      await Promise.race([once(socket, 'readable'), once(socket, 'close')]);
    }
  };
}

async function listening(server: Server, before: string, asked: string[]): Promise<TestProxy> {
  const sockets = new Set<Socket>();
  server.on('connection', (socket: Socket) => {
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket)).on('error', () => {});
  });
  server.listen(0, 'localhost');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  return {
    url: `${before}@localhost:${port}`,
    asked,
    async stop() {
      for (const socket of sockets) socket.destroy();
      if (!server.listening) return;
      server.close();
      await once(server, 'close');
    },
  };
}
