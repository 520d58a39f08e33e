import { createHmac } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { type RequestOptions, request as requestHttp } from 'node:http';
import { request as requestHttps } from 'node:https';
import type { Config } from '../../../shared/config/config.ts';
import { DrayError, messageOf } from '../../../shared/errors.ts';
import { addressRefused, guardedLookup, isAllowed, literalOf } from '../registry/address.ts';

/** Milliseconds in which the receiver must have answered. */
const answerTimeout = 10_000;
/** Bytes of the key, at least: with a shorter one, or none, others could sign as well. */
const leastKey = 24;

/**
 * Posts a message as Standard Webhooks has it: `webhook-id`, `webhook-timestamp`, and `webhook-signature`, the
 * HMAC-SHA256 over both and the body. The same message can come twice, with the same id. Redirects are not followed,
 * and link-local addresses are never connected to; private ones only where the configuration allows the host.
 * @throws WEBHOOK_FAILED, ADDRESS_REFUSED
 */
export async function sendWebhook(
  message: { id: string; url: string; body: string },
  config: Config['webhooks'],
  options: { signal: AbortSignal },
): Promise<void> {
  const url = new URL(message.url);
  const timestamp = Math.floor(Date.now() / 1000);
  const signed = createHmac('sha256', await readKey(config.key))
    .update(`${message.id}.${timestamp}.${message.body}`)
    .digest('base64');
  const mayBePrivate = [url.host, url.hostname].some((host) => config.allowPrivate.includes(host));
  const literal = literalOf(url);
  if (literal !== undefined && !isAllowed(literal, mayBePrivate)) throw refused(url, literal);
  const status = await post(url, message.body, {
    lookup: guardedLookup(mayBePrivate),
    signal: AbortSignal.any([options.signal, AbortSignal.timeout(answerTimeout)]),
    headers: {
      'content-type': 'application/json',
      'content-length': Buffer.byteLength(message.body),
      'user-agent': 'drayage',
      'webhook-id': message.id,
      'webhook-timestamp': String(timestamp),
      'webhook-signature': `v1,${signed}`,
    },
  });
  if (status >= 200 && status < 300) return;
  throw new DrayError('WEBHOOK_FAILED', `The webhook at ${url.host} answered ${status}`, {
    // It is gone for good (RFC 9110, section 15.5.11).
    retryable: status !== 410,
    hint: 'A webhook answers with a status of 200 to 299.',
    context: { host: url.host, status },
  });
}

async function post(url: URL, body: string, options: RequestOptions): Promise<number> {
  const send = url.protocol === 'https:' ? requestHttps : requestHttp;
  try {
    return await new Promise<number>((resolve, reject) => {
      const request = send(url, { ...options, method: 'POST', agent: false }, (response) => {
        // What it says is of no interest.
        response.destroy();
        resolve(response.statusCode ?? 0);
      });
      request.on('error', reject);
      request.end(body);
    });
  } catch (error) {
    if (error instanceof DrayError) throw error.code === 'ADDRESS_REFUSED' ? hinted(error) : error;
    throw new DrayError(
      'WEBHOOK_FAILED',
      `The webhook at ${url.host} can't be reached: ${messageOf(error)}`,
      {
        retryable: true,
        cause: error,
        hint: 'Check the URL, and that workers can reach it.',
        context: { host: url.host },
      },
    );
  }
}

/** The key: base64, with or without `whsec_` before it, of as many bytes as Standard Webhooks wants. */
async function readKey(file: string): Promise<Buffer> {
  const text = await readFile(file, 'utf8').catch((error: unknown) => {
    throw new DrayError(
      'WEBHOOK_FAILED',
      `The webhooks' key ${file} can't be read: ${messageOf(error)}`,
      {
        retryable: true,
        cause: error,
        hint: `On every worker: ${makeKey(file)}`,
      },
    );
  });
  const key = Buffer.from(text.trim().replace(/^whsec_/, ''), 'base64');
  if (key.length >= leastKey) return key;
  throw new DrayError(
    'WEBHOOK_FAILED',
    `The webhooks' key ${file} has ${key.length} bytes in base64, and needs ${leastKey}`,
    { retryable: true, hint: `On every worker: ${makeKey(file)}` },
  );
}

function makeKey(file: string): string {
  return `openssl rand -base64 32 > ${file}, the same for all, or set DRAY_WEBHOOK_KEY.`;
}

function refused(url: URL, address: string): DrayError {
  return hinted(addressRefused(url.host, address));
}

function hinted(error: DrayError): DrayError {
  return new DrayError(error.code, error.message, {
    context: error.context,
    hint: 'A host of your own network has to be named in DRAY_WEBHOOK_PRIVATE or webhooks.allowPrivate; link-local addresses are never connected to.',
  });
}
