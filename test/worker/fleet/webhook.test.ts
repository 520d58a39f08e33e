import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { createHmac, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { createServer, type IncomingHttpHeaders, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import path from 'node:path';
import { after, before, beforeEach, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { z } from 'zod';
import { pullEnded } from '../../../producer/api/schemas/pull.ts';
import { JobQueues } from '../../../shared/queue/jobs.ts';
import { webhookQueue } from '../../../shared/queue/names.ts';
import { startFleet, type TestFleet } from '../../support/fleet.ts';
import { startRegistry, type TestRegistry } from '../../support/registry.ts';
import { until } from '../../support/until.ts';

interface Told {
  headers: IncomingHttpHeaders;
  body: string;
}

const example = path.resolve(import.meta.dirname, '../../producer/client/example/webhook.ts');

/** Instead of a status: nothing is answered. */
const hangs = 0;

describe('webhooks', () => {
  const key = randomBytes(32);
  let fleet: TestFleet;
  let server: Server;
  let registry: TestRegistry;
  let host: string;
  /** What the receiver got, and what it answers next. */
  let told: Told[] = [];
  let answers: number[] = [];

  before(async () => {
    server = createServer((request, response) => {
      let body = '';
      request.setEncoding('utf8').on('data', (text: string) => {
        body += text;
      });
      request.on('end', () => {
        told.push({ headers: request.headers, body });
        const status = answers.shift() ?? 204;
        if (status === hangs) return;
        response.writeHead(status, status === 307 ? { location: '/elsewhere' } : {}).end();
      });
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    host = `127.0.0.1:${(server.address() as AddressInfo).port}`;
    registry = await startRegistry();
    fleet = await startFleet();
    const file = path.join(fleet.folder, 'webhook.key');
    await writeFile(file, `whsec_${key.toString('base64')}\n`);
    fleet.env.DRAY_WEBHOOK_KEY = file;
    fleet.env.DRAY_WEBHOOK_PRIVATE = host;
  });
  after(async () => {
    await fleet[Symbol.asyncDispose]();
    await registry.stop();
    server.closeAllConnections();
    server.close();
  });
  beforeEach(() => {
    told = [];
    answers = [];
  });

  const owed = () => `${fleet.config.redis.prefix}:dray:owed`;

  /** A pull that fails at once: what it ends as does not matter here. */
  const pull = (webhook: string) =>
    fleet.pull({ reference: `${registry.host}/none:v1`, nodes: [], webhook });

  test('the end of a pull is told, signed; again with the same id until somebody says that they heard', async () => {
    const worker = await fleet.startWorker('w1');
    answers = [500, 307];
    const id = await pull(`http://${host}/hook?for=ci`);
    await until('the third try', () => told.length >= 3);
    for (const { headers, body } of told) {
      const { 'webhook-id': name, 'webhook-timestamp': at } = headers;
      assert.equal(name, `pull.${id}`);
      const signed = createHmac('sha256', key).update(`${name}.${at}.${body}`).digest('base64');
      assert.equal(headers['webhook-signature'], `v1,${signed}`);
    }
    const message = z.strictObject(pullEnded.shape).parse(JSON.parse(told[2]?.body ?? ''));
    assert.deepEqual([message.type, message.data.id], ['pull.failed', id]);
    assert.deepEqual(
      Object.keys(message.data),
      Object.keys(pullEnded.shape.data.parse(message.data)),
    );
    assert.equal(message.data.error?.code, 'IMAGE_UNKNOWN');
    await until('the debt’s end', async () => (await fleet.redis.scard(owed())) === 0);
    await sleep(3_500);
    assert.equal(told.length, 3, 'it is told no more');
    await worker[Symbol.asyncDispose]();
  });

  test('the example of a receiver takes what the key has signed, once, and nothing else', async () => {
    const worker = await fleet.startWorker('w-example');
    const receiver = spawn(process.execPath, [example], {
      env: { ...process.env, PORT: '0', WEBHOOK_KEY: fleet.env.DRAY_WEBHOOK_KEY },
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    let said = '';
    receiver.stdout.setEncoding('utf8').on('data', (text: string) => {
      said += text;
    });
    try {
      const port = await until('its port', () => /port: (\d+)/.exec(said)?.[1]);
      const url = `http://127.0.0.1:${port}/hook`;
      const send = async (headers: IncomingHttpHeaders, body: string) =>
        (await fetch(url, { method: 'POST', headers: headers as Record<string, string>, body }))
          .status;
      const id = await pull(`http://${host}/`);
      const { headers, body } = await until('the message', () => told[0]);
      const signed = Object.fromEntries(
        Object.entries(headers).filter(([name]) => name.startsWith('webhook-')),
      );
      assert.equal(await send(signed, body), 204);
      assert.equal(await send(signed, body), 204);
      assert.equal(await send(signed, body.replace(id, 'another')), 401);
      assert.equal(await send({ ...signed, 'webhook-timestamp': '1700000000' }, body), 401);
      assert.equal(await send({}, body), 401);
      const lines = () => said.split('\n').filter((line) => line.includes(' is failed on 0 of 0'));
      await until('what it says', () => lines().length > 0);
      assert.equal(lines().length, 1);
    } finally {
      receiver.kill();
      await worker[Symbol.asyncDispose]();
    }
  });

  test('a receiver that hangs is given up, and told again; with a key that anybody knows nothing is sent', async () => {
    const worker = await fleet.startWorker('w-hang');
    answers = [hangs];
    const id = await pull(`http://${host}/`);
    await until('the second try', () => told.length >= 2);
    assert.equal(told[1]?.headers['webhook-id'], `pull.${id}`);
    await worker[Symbol.asyncDispose]();
    told = [];
    const empty = path.join(fleet.folder, 'empty.key');
    await writeFile(empty, '\n');
    const keyless = await fleet.startWorker('w-key', { DRAY_WEBHOOK_KEY: empty });
    const unsigned = await pull(`http://${host}/`);
    await using queues = new JobQueues(fleet.redis, fleet.config.redis.prefix);
    await until('the first failure', async () => {
      const job = await queues.queue(webhookQueue).getJob(unsigned);
      return (job?.attemptsMade ?? 0) > 0;
    });
    assert.equal(told.length, 0);
    await keyless[Symbol.asyncDispose]();
    // With the key it is told all the same.
    const right = await fleet.startWorker('w-right');
    await until('the message', () => told.some(({ body }) => body.includes(unsigned)));
    await until('the debt’s end', async () => (await fleet.redis.scard(owed())) === 0);
    await right[Symbol.asyncDispose]();
  });

  test('a pull that ended while every worker was dead is told by the next one', async () => {
    const worker = await fleet.startWorker('w2');
    answers = Array.from({ length: 100 }, () => 503);
    const id = await pull(`http://${host}/`);
    await fleet.ended(id);
    await until('the first try', () => told.length > 0);
    process.kill(worker.pid, 'SIGKILL');
    answers = [];
    told = [];
    await fleet.startWorker('w3');
    await until('the message', () =>
      told.some(({ headers }) => headers['webhook-id'] === `pull.${id}`),
    );
  });

  test('who is private and not named, or link-local, is not connected to; the job says so', async () => {
    await using queues = new JobQueues(fleet.redis, fleet.config.redis.prefix);
    const port = host.split(':')[1];
    for (const url of [
      `http://localhost:${port}/`,
      `http://127.0.0.2:${port}/`,
      `http://[::ffff:127.0.0.1]:${port}/`,
      'http://169.254.169.254/latest/meta-data/',
    ]) {
      const id = await pull(url);
      await until(`the refusal of ${url}`, async () => {
        const job = await queues.queue(webhookQueue).getJob(id);
        return (await job?.isFailed()) === true && /^ADDRESS_REFUSED/.test(job?.failedReason ?? '');
      });
    }
    assert.equal(told.length, 0);
  });
});
