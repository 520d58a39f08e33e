import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import type { ServerResponse } from 'node:http';
import { describe, type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { readAtMost } from '../../../../worker/fleet/registry/answer.ts';
import { flow, type Take } from '../../../../worker/fleet/registry/flow.ts';
import { headerOf } from '../../../../worker/fleet/registry/header.ts';
import { Transport } from '../../../../worker/fleet/registry/transport.ts';
import { makeCertificate, startHostileRegistry } from '../../../support/hostile-registry.ts';

// More than any buffer on the way, and no multiple of one.
const bytes = randomBytes(3_000_001);

/** How a body can be sent. */
const ways: Record<string, (response: ServerResponse) => Promise<void>> = {
  'with its length': async (response) => {
    response.writeHead(200, { 'content-length': bytes.length }).end(bytes);
  },
  'in chunks': async (response) => {
    for (let at = 0; at < bytes.length; at += 70_001) {
      if (!response.write(bytes.subarray(at, at + 70_001))) await once(response, 'drain');
    }
    response.end();
  },
  'to the end of the connection': async (response) => {
    response.useChunkedEncodingByDefault = false;
    response.writeHead(200, { connection: 'close' }).end(bytes);
  },
  'in drops first': async (response) => {
    response.writeHead(200, { 'content-length': bytes.length });
    for (let at = 0; at < 50; at++) {
      response.write(bytes.subarray(at, at + 1));
      await sleep(1);
    }
    response.end(bytes.subarray(50));
  },
};

/** Sees to it that a chunk is not another's while it is in use. */
class Taker {
  readonly #chunks: Buffer[] = [];
  readonly #use: () => Promise<unknown> | undefined;

  constructor(use: () => Promise<unknown> | undefined) {
    this.#use = use;
  }

  take: Take = (chunk) => {
    const before = Buffer.from(chunk);
    this.#chunks.push(before);
    return this.#use()?.then(() => assert.ok(before.equals(chunk), 'a chunk changed in use'));
  };

  get bytes(): Buffer {
    return Buffer.concat(this.#chunks);
  }
}

let turn = 0;
const takers: Record<string, () => Promise<unknown> | undefined> = {
  'at once': () => undefined,
  'a moment later': () => Promise.resolve(),
  'each later': () => sleep(2),
  'some later': () => (turn++ % 3 === 0 ? sleep(2) : undefined),
};

async function setUp(t: TestContext, { tls }: { tls: boolean }) {
  const certificate = tls ? await makeCertificate() : undefined;
  const server = await startHostileRegistry(certificate === undefined ? {} : { tls: certificate });
  t.after(() => server.stop());
  const transport = new Transport({
    userAgent: 'test',
    timeouts: { connectMs: 10_000, headersMs: 10_000, silenceMs: 10_000 },
    ca: certificate?.certificate,
    observed: false,
  });
  t.after(() => transport.close());
  const get = (path: string) =>
    transport.send({ method: 'GET', url: new URL(path, server.origin), allowPrivate: true });
  return { server, get };
}

for (const tls of [false, true]) {
  describe(`a body over ${tls ? 'TLS' : 'plain http'}`, () => {
    for (const [way, send] of Object.entries(ways)) {
      test(`${way}: all bytes in order, and none changes while it is in use`, async (t) => {
        const { server, get } = await setUp(t, { tls });
        server.on('/body', (_request, response) => void send(response));
        for (const [when, use] of Object.entries(takers)) {
          const { body, straight } = await get('/body');
          const taker = new Taker(use);
          await flow(body, taker.take, { failed: (error) => error, straight });
          assert.ok(taker.bytes.equals(bytes), `taken ${when}`);
        }
      });
    }

    test('its headers come in drops: what came first is not overwritten by what comes later', async (t) => {
      const { server, get } = await setUp(t, { tls });
      const range = `bytes 0-${bytes.length - 1}/${bytes.length}`;
      const head = [
        ...[
          'HTTP/1.1 206 Partial Content',
          `Content-Range: ${range}`,
          `X-Long: ${'x'.repeat(10_000)}`,
        ],
        ...[`Content-Length: ${bytes.length}`, 'Connection: close', '', ''],
      ].join('\r\n');
      server.on('/body', async (_request, { socket }) => {
        for (let at = 0; at < head.length; at += 400) {
          socket?.write(head.slice(at, at + 400));
          await sleep(1);
        }
        socket?.end(bytes);
      });
      const { body, headers, straight } = await get('/body');
      assert.equal(headerOf(headers, 'content-range'), range);
      const taker = new Taker(() => undefined);
      await flow(body, taker.take, { failed: (error) => error, straight });
      assert.ok(taker.bytes.equals(bytes));
    });

    test('read late, when it stands there already: nothing was lost', async (t) => {
      const { server, get } = await setUp(t, { tls });
      server.serve('/body', bytes);
      const { body, straight } = await get('/body');
      await sleep(100);
      const taker = new Taker(() => undefined);
      await flow(body, taker.take, { failed: (error) => error, straight });
      assert.ok(taker.bytes.equals(bytes));
    });

    test('kept whole, as a manifest is: what came later does not change what came first', async (t) => {
      const { server, get } = await setUp(t, { tls });
      server.serve('/body', bytes);
      assert.ok((await readAtMost(await get('/body'), bytes.length, {})).equals(bytes));
    });

    test('refused by who takes it: the next answer comes whole', async (t) => {
      const { server, get } = await setUp(t, { tls });
      server.serve('/body', bytes);
      for (const refuse of [
        () => {
          throw new Error('full');
        },
        () => Promise.reject(new Error('full')),
      ]) {
        const { body, straight } = await get('/body');
        await assert.rejects(flow(body, refuse, { failed: (error) => error, straight }), {
          message: 'full',
        });
        const { body: next, straight: way } = await get('/body');
        const taker = new Taker(() => undefined);
        await flow(next, taker.take, { failed: (error) => error, straight: way });
        assert.ok(taker.bytes.equals(bytes));
      }
    });

    test('broken off while a chunk is in use: told when it is used', async (t) => {
      const { server, get } = await setUp(t, { tls });
      server.on('/body', (_request, response) => {
        response.writeHead(200, { 'content-length': bytes.length });
        response.write(bytes.subarray(0, 600_000), () => response.destroy());
      });
      const { body, straight } = await get('/body');
      const taker = new Taker(() => sleep(20));
      await assert.rejects(
        flow(body, taker.take, {
          failed: (error) => new Error('told', { cause: error }),
          straight,
        }),
        { message: 'told' },
      );
      const { length } = taker.bytes;
      assert.ok(taker.bytes.equals(bytes.subarray(0, length)));
    });
  });
}
