import type { IncomingHttpHeaders } from 'node:http';
import { pipeline, type Readable } from 'node:stream';
import {
  createBrotliDecompress,
  createGunzip,
  createInflate,
  createZstdDecompress,
} from 'node:zlib';
import type { Dispatcher } from 'undici';
import { DrayError, type ErrorCode } from '../../../shared/errors.ts';
import { headerOf } from './header.ts';
import { hostAndPort, networkError } from './network-error.ts';
import { printable } from './printable.ts';
import { retryAfterMs } from './rate-limit.ts';
import type { Straight } from './straight.ts';

/** What a server answered. Its body must be read, discarded or destroyed. */
export interface Answer {
  status: number;
  headers: IncomingHttpHeaders;
  body: Dispatcher.ResponseData['body'];
  /** The way of its chunks past the stream. */
  straight: Straight;
  /** Who answered in the end. */
  url: URL;
  /** The headers of the first answer, which is the one of whom was asked; others where it redirected. */
  own: IncomingHttpHeaders;
}

const maxErrorBytes = 64 * 1024;
const errorBodyMs = 10_000;
const discardMs = 2_000;
const decodeChunk = 256 * 1024;

/** Lets a body that nobody wants go by, so that its connection can be used again; a long one is cut. */
export async function discard(body: Answer['body']): Promise<void> {
  body.on('error', () => {});
  try {
    await body.dump({ limit: maxErrorBytes, signal: AbortSignal.timeout(discardMs) });
  } catch {
    body.destroy();
  }
}

/** Content-Length in bytes, if there is one. @throws REGISTRY_PROTOCOL */
export function lengthOf(answer: Answer): number | undefined {
  const text = headerOf(answer.headers, 'content-length');
  if (text === undefined) return undefined;
  const length = /^\d{1,16}$/.test(text) ? Number(text) : Number.NaN;
  if (Number.isSafeInteger(length)) return length;
  throw protocolError(answer, `with the Content-Length "${printable(text)}"`);
}

/** The Content-Encoding that a body has although none was asked for. */
export function encodingOf(answer: Answer): string | undefined {
  const encoding = headerOf(answer.headers, 'content-encoding')?.trim().toLowerCase();
  return encoding === undefined || encoding === '' || encoding === 'identity'
    ? undefined
    : encoding;
}

/** The body without its Content-Encoding. Whoever reads it stops at the size that he expects. */
export function decodedBody(answer: Answer): Readable {
  const encoding = encodingOf(answer);
  if (encoding === undefined) return answer.body;
  const decoder = decoderOf(encoding);
  if (decoder === undefined) {
    answer.body.on('error', () => {}).destroy();
    throw protocolError(answer, `in the unknown Content-Encoding "${printable(encoding)}"`);
  }
  // An error of either end comes out of the decoder.
  return pipeline(answer.body, decoder, () => {});
}

function decoderOf(encoding: string) {
  const options = { chunkSize: decodeChunk };
  switch (encoding) {
    case 'gzip':
    case 'x-gzip':
      return createGunzip(options);
    case 'deflate':
      return createInflate(options);
    case 'br':
      return createBrotliDecompress(options);
    case 'zstd':
      return createZstdDecompress(options);
    default:
      return undefined;
  }
}

/**
 * Reads a small body whole, or up to one byte past `maxBytes`.
 * @throws REGISTRY_UNAVAILABLE when it breaks off
 */
export async function readAtMost(
  answer: Answer,
  maxBytes: number,
  options: { signal?: AbortSignal | undefined },
): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  let length = 0;
  try {
    for await (const chunk of decodedBody(answer)) {
      chunks.push(chunk);
      length += chunk.length;
      if (length > maxBytes) break;
    }
  } catch (error) {
    throw networkError(error, `the body of ${answer.url.pathname}`, answer.url, options.signal);
  }
  return Buffer.concat(chunks, length).subarray(0, maxBytes + 1);
}

export interface Subject {
  /** What was asked for, as in `localhost:5000/a/b:latest`. */
  what: string;
  /** What it means when the registry does not have it. */
  unknown: ErrorCode;
  /** What must not come back in a message, whatever the registry sends: the header, and what was sent besides. */
  authorization?: string | undefined;
  secrets?: readonly string[];
  /** Milliseconds that a limit is waited for, where that is known better than by this answer alone. */
  waitMs?: number | undefined;
}

/** Turns an answer that is no success into an error, with the registry's own words. Takes the body. */
export async function errorOf(answer: Answer, subject: Subject): Promise<DrayError> {
  const { status, url } = answer;
  const own = await registryMessage(answer, subject);
  const host = hostAndPort(url);
  const words = own === '' ? `HTTP status ${status}` : `${own} (HTTP status ${status})`;
  const context = { host, status };
  const { what } = subject;
  if (status === 401) {
    return new DrayError('UNAUTHORIZED', `${host} wants a login for ${what}: ${words}`, {
      context,
      hint: loginHint(host),
    });
  }
  if (status === 403) {
    return new DrayError('DENIED', `${host} does not let us have ${what}: ${words}`, {
      context,
      hint: `Check the name, and whether the login for ${host} may pull it.`,
    });
  }
  if (status === 404) {
    return new DrayError(subject.unknown, `${host} does not have ${what}: ${words}`, {
      context,
      hint: 'Check the name and the tag; some registries answer so when a login is missing, too.',
    });
  }
  if (status === 429) {
    const wait = subject.waitMs ?? retryAfterMs(headerOf(answer.headers, 'retry-after'));
    return new DrayError('RATE_LIMITED', `${host} limits our requests for ${what}: ${words}`, {
      retryable: true,
      context: { ...context, ...(wait === undefined ? {} : { retryAfterMs: wait }) },
      hint: 'It is tried again later. Registries allow more to those who log in.',
    });
  }
  if (status >= 500 || status === 408 || status === 425) {
    return new DrayError('REGISTRY_UNAVAILABLE', `${host} failed for ${what}: ${words}`, {
      retryable: true,
      context,
      hint: "The registry's own log knows more.",
    });
  }
  return new DrayError('REGISTRY_PROTOCOL', `${host} refused to give ${what}: ${words}`, {
    context,
    hint: 'Check that this host is a registry.',
  });
}

/** An answer that breaks the rules. @param how as in `with the Content-Range "…"` */
export function protocolError(answer: Answer, how: string): DrayError {
  const host = hostAndPort(answer.url);
  return new DrayError(
    'REGISTRY_PROTOCOL',
    `${host} answered ${answer.url.pathname} with status ${answer.status} ${how}`,
    { context: { host, status: answer.status }, hint: 'The registry is broken or misconfigured.' },
  );
}

export function loginHint(host: string): string {
  return `Log in: dray login ${host} (as the user that the workers run as), or give the workers a credential by name: --credential NAME.`;
}

/** `CODE: message` of the first error in the body (distribution-spec, error codes), or ''. */
async function registryMessage(answer: Answer, subject: Subject): Promise<string> {
  // The reader stops at the cap, the clock stops one that trickles.
  const cut = setTimeout(() => answer.body.destroy(), errorBodyMs);
  try {
    const document: unknown = JSON.parse(
      (await readAtMost(answer, maxErrorBytes, {})).toString('utf8'),
    );
    const { errors, details, message } = Object(document) as Record<string, unknown>;
    const first: unknown = Array.isArray(errors) ? errors[0] : undefined;
    const parts = Object(first) as Record<string, unknown>;
    return (
      [parts.code, parts.message ?? details ?? message]
        .filter((part): part is string => typeof part === 'string' && part !== '')
        // Before it is cut: a part of a secret is one too.
        .map((part) => printable(withoutSecrets(part, subject)))
        .join(': ')
    );
  } catch {
    return '';
  } finally {
    clearTimeout(cut);
  }
}

function withoutSecrets(text: string, { authorization, secrets = [] }: Subject): string {
  const [scheme, encoded = ''] = authorization?.split(' ') ?? [];
  const pair = scheme === 'Basic' ? Buffer.from(encoded, 'base64').toString('utf8') : '';
  const password = pair.slice(pair.indexOf(':') + 1);
  return [encoded, password, ...secrets]
    .flatMap((secret) => [secret, new URLSearchParams({ s: secret }).toString().slice(2)])
    .filter((secret) => secret !== '')
    .reduce((rest, secret) => rest.replaceAll(secret, '***'), text);
}
