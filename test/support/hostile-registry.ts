import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import http, { type IncomingHttpHeaders, type RequestListener } from 'node:http';
import https from 'node:https';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';

export interface SeenRequest {
  method: string;
  path: string;
  headers: IncomingHttpHeaders;
}

/** A server that answers as a test tells it to. */
export interface HostileRegistry extends AsyncDisposable {
  /** `localhost:PORT`. */
  host: string;
  port: number;
  /** `http://localhost:PORT`, or https. */
  origin: string;
  /** What was asked so far, without the probes of `/v2/`. */
  requests: SeenRequest[];
  /** Sets what answers a path (without its query). */
  on(path: string, handler: RequestListener): void;
  /** Answers a path with the same bytes each time; obeys ranges. */
  serve(path: string, bytes: Uint8Array, headers?: Record<string, string>): void;
  stop(): Promise<void>;
}

/** Starts one on a free port of loopback. With `tls`, its certificate comes from {@link makeCertificate}. */
export async function startHostileRegistry(
  options: { tls?: Certificate } = {},
): Promise<HostileRegistry> {
  const handlers = new Map<string, RequestListener>();
  const requests: SeenRequest[] = [];
  const listener: RequestListener = (request, response) => {
    const { pathname } = new URL(request.url ?? '/', 'http://x');
    if (pathname !== '/v2/') {
      const { method = '', url = '', headers } = request;
      requests.push({ method, path: url, headers });
    }
    const handler = handlers.get(pathname);
    response.on('error', () => {});
    if (handler !== undefined) handler(request, response);
    else response.writeHead(404, { 'content-type': 'application/json' }).end('{"errors":[]}');
  };
  const { tls } = options;
  const server =
    tls === undefined
      ? http.createServer(listener)
      : https.createServer({ key: tls.key, cert: tls.certificate }, listener);
  server.listen(0, 'localhost');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const registry: HostileRegistry = {
    host: `localhost:${port}`,
    port,
    origin: `${tls === undefined ? 'http' : 'https'}://localhost:${port}`,
    requests,
    on: (place, handler) => void handlers.set(place, handler),
    serve: (place, bytes, headers = {}) =>
      registry.on(place, (request, response) => {
        const from = /^bytes=(\d+)-$/.exec(request.headers.range ?? '')?.[1];
        if (from === undefined) {
          response.writeHead(200, { 'content-length': bytes.length, ...headers }).end(bytes);
          return;
        }
        const rest = bytes.subarray(Number(from));
        response
          .writeHead(206, {
            'content-length': rest.length,
            'content-range': `bytes ${from}-${bytes.length - 1}/${bytes.length}`,
            ...headers,
          })
          .end(rest);
      }),
    async stop() {
      server.closeAllConnections();
      if (!server.listening) return;
      server.close();
      await once(server, 'close');
    },
    async [Symbol.asyncDispose]() {
      await registry.stop();
    },
  };
  return registry;
}

export interface Certificate {
  key: string;
  certificate: string;
}

/** A certificate for localhost that nobody trusts unasked. */
export async function makeCertificate(): Promise<Certificate> {
  const folder = await mkdtemp(path.join(tmpdir(), 'dray-certificate-'));
  try {
    const key = path.join(folder, 'key.pem');
    const certificate = path.join(folder, 'certificate.pem');
    await promisify(execFile)('openssl', [
      ...['req', '-x509', '-nodes', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256'],
      ...['-keyout', key, '-out', certificate, '-days', '2', '-subj', '/CN=localhost'],
      ...[
        '-addext',
        'subjectAltName=DNS:localhost,DNS:example.test,DNS:*.example.test,DNS:*.registry.example.test,DNS:cdn.test,IP:127.0.0.1',
      ],
    ]);
    return {
      key: await readFile(key, 'utf8'),
      certificate: await readFile(certificate, 'utf8'),
    };
  } finally {
    await rm(folder, { recursive: true });
  }
}
