import assert from 'node:assert/strict';
import { createHmac, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { createServer, type IncomingHttpHeaders, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import path from 'node:path';
import { after, before, beforeEach, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { JobQueues } from '../../../shared/queue/jobs.ts';
import { webhookQueue } from '../../../shared/queue/names.ts';
import { startFleet, type TestFleet } from '../../support/fleet.ts';
import { startRegistry, type TestRegistry } from '../../support/registry.ts';
import { until } from '../../support/until.ts';

interface Told {
  headers: IncomingHttpHeaders;
  body: string;
}

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
    server.close();
  });
  beforeEach(() => {
    told = [];
    answers = [];
  });

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
    const message = JSON.parse(told[2]?.body ?? '') as { type: string; data: { id: string } };
    assert.deepEqual([message.type, message.data.id], ['pull.failed', id]);
    const owed = `${fleet.config.redis.prefix}:dray:owed`;
    await until('the debt’s end', async () => (await fleet.redis.scard(owed)) === 0);
    await sleep(3_500);
    assert.equal(told.length, 3, 'it is told no more');
    await worker[Symbol.asyncDispose]();
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
