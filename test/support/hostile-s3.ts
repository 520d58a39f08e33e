import { once } from 'node:events';
import http, { type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { pipeline } from 'node:stream/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { Random } from '../fuzz/random.ts';

export interface S3Request {
  method: string;
  /** Decoded, without the query. */
  path: string;
  query: URLSearchParams;
  headers: http.IncomingHttpHeaders;
}

/** What is done to one request. */
export type Fault =
  /** Answered so, and not handed on. */
  | { kind: 'error'; status: number; code: string }
  /** Status 200 with an error in its body; with `done` the server did what was asked all the same. */
  | { kind: 'error in 200'; code: string; done: boolean }
  /** The server does what was asked, and the connection is cut before the answer. */
  | { kind: 'lost' }
  | { kind: 'slow'; ms: number }
  /** The answer's body is cut in its middle. */
  | { kind: 'cut' }
  /** Bytes of the answer's body, or of the request's, are others. */
  | { kind: 'torn' }
  | { kind: 'torn request' };

/** An S3 server behind a proxy that does to requests what a test tells it to. */
export interface HostileS3 extends AsyncDisposable {
  endpoint: string;
  /** What was asked so far. */
  requests: S3Request[];
  /** How often each kind of fault was done. */
  faults: Map<Fault['kind'], number>;
  /** Decides for each request; at first nothing is done to any. */
  decide: (request: S3Request) => Fault | undefined;
}

/** @param target the endpoint of a server that works */
export async function startHostileS3(target: string): Promise<HostileS3> {
  const { port: targetPort } = new URL(target);
  const agent = new http.Agent({ keepAlive: true, maxSockets: 128 });
  const server = http.createServer((request, response) => {
    response.on('error', () => {});
    request.on('error', () => {});
    handle(request, response).catch(() => response.destroy());
  });
  const proxy: HostileS3 = {
    endpoint: '',
    requests: [],
    faults: new Map(),
    decide: () => undefined,
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections();
      server.close();
      agent.destroy();
    },
  };

  async function handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { pathname, searchParams: query } = new URL(request.url ?? '/', 'http://x');
    const { method = '', headers } = request;
    const seen = { method, path: decodeURIComponent(pathname), query, headers };
    proxy.requests.push(seen);
    const fault = proxy.decide(seen);
    if (fault !== undefined) proxy.faults.set(fault.kind, (proxy.faults.get(fault.kind) ?? 0) + 1);
    if (fault?.kind === 'slow') await sleep(fault.ms);
    if (fault?.kind === 'error') {
      request.resume();
      await once(request, 'end');
      sendError(response, fault.status, fault.code, method);
      return;
    }
    if (fault?.kind === 'error in 200' && !fault.done) {
      request.resume();
      await once(request, 'end');
      sendError(response, 200, fault.code, method);
      return;
    }
    const onward = http.request({
      ...{ host: '127.0.0.1', port: targetPort, path: request.url, method, headers, agent },
    });
    const answered = once(onward, 'response') as Promise<[IncomingMessage]>;
    answered.catch(() => {});
    const torn = fault?.kind === 'torn request';
    for await (const chunk of request as AsyncIterable<Buffer>) {
      if (!onward.write(torn ? spoilt(chunk) : chunk)) await once(onward, 'drain');
    }
    onward.end();
    const [answer] = await answered;
    answer.on('error', () => response.destroy());
    if (fault?.kind === 'lost' || fault?.kind === 'error in 200') {
      answer.resume();
      await once(answer, 'end');
      if (fault.kind === 'lost') response.destroy();
      else sendError(response, 200, fault.code, method);
      return;
    }
    response.writeHead(answer.statusCode ?? 502, answer.headers);
    const isData = method === 'GET' && (answer.statusCode === 200 || answer.statusCode === 206);
    const length = Number(answer.headers['content-length'] ?? 0);
    await pipeline(
      answer,
      (chunks) => (isData ? changed(chunks, fault, length) : chunks),
      response,
    );
  }

  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  proxy.endpoint = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return proxy;
}

/**
 * Faults by chance.
 * @param rate the part of all requests that fails; as many more are slow, and of the answers with data as many torn or cut
 */
export function faultsByChance(
  seed: number,
  rate: number,
): (request: S3Request) => Fault | undefined {
  const random = new Random(seed);
  // Those that few requests can meet come once for sure, at the first that can.
  const due = new Map<Fault['kind'], string>([
    ['torn request', 'PUT'],
    ['torn', 'GET'],
    ['cut', 'GET'],
  ]);
  return ({ method, path, query }) => {
    const isOfBlob = /\/v1\/(blobs|ingests)\//.test(path);
    const [first] = [...due].filter(([, by]) => isOfBlob && by === method);
    if (first?.[0] === 'torn request' || first?.[0] === 'torn' || first?.[0] === 'cut') {
      due.delete(first[0]);
      return { kind: first[0] };
    }
    const draw = random.below(10_000) / 10_000;
    if (draw < rate) {
      const which = random.below(4);
      if (which === 0) return { kind: 'lost' };
      if (which === 1) return { kind: 'error', status: 500, code: 'InternalError' };
      if (which === 2 && method === 'POST' && query.has('uploadId')) {
        return { kind: 'error in 200', code: 'InternalError', done: random.once(2) };
      }
      return { kind: 'error', status: 503, code: 'SlowDown' };
    }
    if (draw < 2 * rate) return { kind: 'slow', ms: 50 + random.below(400) };
    // Records have no digest that would tell; whole answers of TCP are not torn in earnest.
    if (draw < 3 * rate && method === 'GET') {
      return { kind: isOfBlob && random.once(2) ? 'torn' : 'cut' };
    }
    if (draw < 3 * rate && method === 'PUT') return { kind: 'torn request' };
    return undefined;
  };
}

async function* changed(
  chunks: AsyncIterable<Buffer>,
  fault: Fault | undefined,
  length: number,
): AsyncIterable<Buffer> {
  let passed = 0;
  for await (const chunk of chunks) {
    if (fault?.kind === 'cut' && passed + chunk.length > length / 2) {
      yield chunk.subarray(0, Math.max(0, Math.floor(length / 2) - passed));
      throw new Error('cut');
    }
    passed += chunk.length;
    yield fault?.kind === 'torn' ? spoilt(chunk) : chunk;
  }
}

function spoilt(chunk: Buffer): Buffer {
  const other = Buffer.from(chunk);
  if (other.length > 0) other[other.length >> 1] = (other[other.length >> 1] ?? 0) ^ 0xff;
  return other;
}

function sendError(response: ServerResponse, status: number, code: string, method: string): void {
  const body = `<?xml version="1.0" encoding="UTF-8"?><Error><Code>${code}</Code><Message>told to fail</Message></Error>`;
  const headers = { 'content-type': 'application/xml', 'content-length': Buffer.byteLength(body) };
  response.writeHead(status, headers);
  response.end(method === 'HEAD' ? undefined : body);
}
