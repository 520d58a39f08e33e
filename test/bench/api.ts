/**
 * `npm run bench:api`: 200 clients have 20,000 pulls of an image that the store has accepted by the API, beside
 * BullMQ's bare `add` to the same Redis, in one run. Ends with 1 when a request failed.
 */
import { randomBytes } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { Agent, request as httpRequest } from 'node:http';
import path from 'node:path';
import { Queue } from 'bullmq';
import { createToken } from '../../shared/access/tokens.ts';
import { startApi } from '../producer/api/support.ts';
import { startFleet } from '../support/fleet.ts';
import { pushImage, tarOf } from '../support/push.ts';
import { startRegistry } from '../support/registry.ts';

const clients = Number(process.env.CLIENTS ?? 200);
const total = Number(process.env.PULLS ?? 20_000);

const registry = await startRegistry();
try {
  await using fleet = await startFleet();
  await fleet.startWorker('w1');
  const tokens = path.join(fleet.folder, 'tokens.json');
  const shown: string[] = [];
  for (let i = 0; i < clients; i++) {
    shown.push(await createToken(tokens, { name: `client-${i}`, scopes: ['pull'] }));
  }
  await using api = await startApi({ ...fleet.env, DRAY_API_TOKENS: tokens });
  const tar = await tarOf([{ name: 'file', content: randomBytes(100_000) }]);
  await pushImage(registry.host, 'bench', 'v1', [tar]);
  const reference = `${registry.host}/bench:v1`;
  await fleet.ended(await fleet.pull({ reference, nodes: [] }));

  const bare = await rateOfBareAdd(fleet.server.url);
  const memory: number[] = [];
  const sampling = setInterval(() => void rssOf(api.pid).then((mb) => memory.push(mb)), 500);
  const agent = new Agent({ keepAlive: true, maxSockets: clients });
  const body = JSON.stringify({ reference, policy: 'missing' });
  const took: number[] = [];
  let left = total;
  let failures = 0;
  const began = performance.now();
  await Promise.all(
    shown.map(async (token) => {
      while (left-- > 0) {
        const sent = performance.now();
        const status = await post(`${api.url}/v1/pulls`, token, body, agent).catch(() => 0);
        took.push(performance.now() - sent);
        if (status !== 202) failures++;
      }
    }),
  );
  const seconds = (performance.now() - began) / 1000;
  clearInterval(sampling);
  agent.destroy();
  took.sort((a, b) => a - b);
  const at = (share: number) => took[Math.floor(share * (took.length - 1))] ?? 0;
  const rate = total / seconds;
  const mean = (part: number[]) => part.reduce((sum, each) => sum + each, 0) / part.length;
  const half = Math.floor(memory.length / 2);
  console.log(
    [
      `pulls accepted      ${total} by ${clients} clients, ${failures} failed`,
      `requests a second   ${rate.toFixed(0)}`,
      `latency             p50 ${at(0.5).toFixed(0)} ms, p99 ${at(0.99).toFixed(0)} ms`,
      `bare add a second   ${bare.toFixed(0)}`,
      `ratio               ${(rate / bare).toFixed(2)}`,
      `memory of the API   ${mean(memory.slice(0, half)).toFixed(0)} MiB in the first half, ${mean(memory.slice(half)).toFixed(0)} MiB in the second, ${Math.max(...memory).toFixed(0)} MiB at most`,
    ].join('\n'),
  );
  if (failures > 0) process.exitCode = 1;
} finally {
  await registry.stop();
}

/** As many at once as there are clients. */
async function rateOfBareAdd(url: string): Promise<number> {
  const queue = new Queue('bare', {
    connection: { path: url.slice('unix://'.length) },
    prefix: '{bench}',
  });
  let left = total;
  const began = performance.now();
  await Promise.all(
    Array.from({ length: clients }, async () => {
      while (left-- > 0) await queue.add('bare', { v: 1 });
    }),
  );
  const rate = total / ((performance.now() - began) / 1000);
  await queue.obliterate({ force: true });
  await queue.close();
  return rate;
}

async function post(url: string, token: string, body: string, agent: Agent): Promise<number> {
  return await new Promise((resolve, reject) => {
    const headers = {
      'content-type': 'application/json',
      'content-length': Buffer.byteLength(body),
      authorization: `Bearer ${token}`,
    };
    httpRequest(url, { method: 'POST', agent, headers }, (response) => {
      response.resume();
      response.once('end', () => resolve(response.statusCode ?? 0));
      response.once('error', reject);
    })
      .once('error', reject)
      .end(body);
  });
}

async function rssOf(pid: number): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8');
  return Number(/VmRSS:\s+(\d+)/.exec(status)?.[1]) / 1024;
}
