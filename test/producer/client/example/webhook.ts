/**
 * An example of a receiver of webhooks: it takes what the fleet's key has signed, of the last five minutes, each message
 * once. WEBHOOK_KEY is the file of the key that the workers have.
 */
import { createHmac, timingSafeEqual } from 'node:crypto';
import { readFileSync } from 'node:fs';
import {
  createServer,
  type IncomingHttpHeaders,
  type IncomingMessage,
  type ServerResponse,
} from 'node:http';
import type { PullEnded } from 'drayage';

const { PORT = '8080', WEBHOOK_KEY = '/etc/drayage/webhook.key' } = process.env;
const text = readFileSync(WEBHOOK_KEY, 'utf8').trim();
const key = Buffer.from(text.replace(/^whsec_/, ''), 'base64');
const toleranceSeconds = 300;
const mostBytes = 65_536;
/** Ids of messages that were taken. A service keeps them where its other instances find them. */
const taken = new Set<string>();

function isSigned(headers: IncomingHttpHeaders, body: Buffer): boolean {
  const { 'webhook-id': id, 'webhook-timestamp': time, 'webhook-signature': given } = headers;
  if (Math.abs(Date.now() / 1000 - Number(time)) > toleranceSeconds) return false;
  const expected = createHmac('sha256', key).update(`${id}.${time}.`).update(body).digest();
  return String(given)
    .split(' ')
    .map((each) => Buffer.from(each.replace(/^v1,/, ''), 'base64'))
    .some((each) => each.length === expected.length && timingSafeEqual(each, expected));
}

async function receive(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes > mostBytes) return void response.writeHead(413).end();
    chunks.push(chunk);
  }
  const body = Buffer.concat(chunks);
  if (!isSigned(request.headers, body)) return void response.writeHead(401).end();
  const id = String(request.headers['webhook-id']);
  if (!taken.has(id)) {
    taken.add(id);
    const { data } = JSON.parse(body.toString()) as PullEnded;
    console.log(`${data.reference} is ${data.state} on ${data.nodes.ready} of ${data.nodes.total}`);
  }
  response.writeHead(204).end();
}

const server = createServer((request, response) => {
  // Who leaves in the middle of it is nobody's concern.
  receive(request, response).catch(() => response.destroy());
});
server.listen(Number(PORT), '127.0.0.1', () => console.log('listens at', server.address()));
