import type { ClientRequest, IncomingMessage } from 'node:http';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type { AgentEndpoint, RemoteEndpoint } from './endpoint.ts';

// By import, the names that node:http has for the web's sockets would load Node's undici: 35 ms of each command.
const { request: plainRequest } = process.getBuiltinModule('node:http');

/** Milliseconds to reach an agent; it may take its time to answer. */
const connectBound = 10_000;

export interface ExchangeRequest {
  method: string;
  path: string;
  /** JSON, or a stream that goes on while the answer comes. */
  body?: object | undefined;
  signal?: AbortSignal | undefined;
}

/**
 * One request on a connection of its own, by Node's own client: a command that people wait for loads nothing
 * else for it.
 * @returns the answer, once its headers are there, and what closes the connection
 */
export async function exchange(
  endpoint: AgentEndpoint,
  { method, path, body, signal }: ExchangeRequest,
): Promise<{ answer: IncomingMessage; close: () => void }> {
  const isLocal = 'socketPath' in endpoint;
  const isStream = body instanceof Readable;
  const text = body === undefined || isStream ? undefined : JSON.stringify(body);
  const options = {
    method,
    path,
    // No pool: the connection ends with the answer.
    agent: false as const,
    // Without one Node looks whether the host is an address, which takes 3 ms the first time.
    servername: '',
    headers: {
      ...(body === undefined
        ? {}
        : { 'content-type': isStream ? 'application/octet-stream' : 'application/json' }),
      ...(text === undefined ? {} : { 'content-length': Buffer.byteLength(text) }),
      ...(isLocal || endpoint.token === undefined
        ? {}
        : { authorization: `Bearer ${endpoint.token}` }),
    },
    ...(signal === undefined ? {} : { signal }),
  };
  const sent = isLocal
    ? plainRequest({ ...options, socketPath: endpoint.socketPath })
    : await secureRequest(endpoint, options);
  const answering = answerOf(sent, isLocal ? 'connect' : 'secureConnect');
  if (isStream) {
    // It may be cut off: the answer says why.
    pipeline(body, sent).catch(() => {});
  } else {
    sent.end(text);
  }
  return { answer: await answering, close: () => void sent.destroy() };
}

async function answerOf(sent: ClientRequest, connected: string): Promise<IncomingMessage> {
  return await new Promise((resolve, reject) => {
    const timer = setTimeout(
      () => sent.destroy(new Error(`no connection after ${connectBound / 1000} s`)),
      connectBound,
    );
    sent.once('socket', (socket) => socket.once(connected, () => clearTimeout(timer)));
    sent.once('response', (answer) => {
      clearTimeout(timer);
      resolve(answer);
    });
    // Stays: what comes after the answer is told by its body.
    sent.on('error', (error) => {
      clearTimeout(timer);
      reject(error);
    });
  });
}

async function secureRequest(endpoint: RemoteEndpoint, options: object): Promise<ClientRequest> {
  const { request } = await import('node:https');
  return request({ ...options, ...secureOptions(endpoint) });
}

function secureOptions({ node, address, authority, client }: RemoteEndpoint): object {
  const at = address.lastIndexOf(':');
  return {
    host: address.slice(0, at).replaceAll(/^\[|\]$/g, ''),
    port: Number(address.slice(at + 1)),
    servername: node,
    minVersion: 'TLSv1.2',
    ...(authority === undefined ? {} : { ca: authority }),
    ...client,
  };
}
