import assert from 'node:assert/strict';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import { Queue } from 'bullmq';
import type { RedisTarget } from '../../shared/queue/address.ts';
import { connectRedis, type Redis } from '../../shared/queue/connection.ts';
import { dray } from '../producer/cli/dray.ts';
import { makeAuthority } from '../support/authority.ts';
import { startFleet } from '../support/fleet.ts';
import { freePort } from '../support/ports.ts';
import { pushImage, randomLayer } from '../support/push.ts';
import { startRedis } from '../support/redis.ts';
import { startRegistry } from '../support/registry.ts';
import { requireRoot, requireTool } from '../support/requirements.ts';

const users = path.resolve(import.meta.dirname, '../../deploy/redis/users.acl');
const prefix = '{dray}';

/** A Redis that speaks only TLS to those who show a certificate, with the users of deploy/redis. */
async function startGuarded() {
  const folder = await mkdtemp(path.join(tmpdir(), 'dray-acl-'));
  await using authority = await makeAuthority('Redis of the tests');
  const server = await authority.issue('redis', ['DNS:localhost']);
  const client = await authority.issue('a program of the fleet');
  const file = async (name: string, text: string) => {
    await writeFile(path.join(folder, name), text);
    return path.join(folder, name);
  };
  const acl = (await readFile(users, 'utf8'))
    // The test itself comes in by the unix socket.
    .replace('user default off', 'user default on nopass ~* &* +@all')
    .replace(/^user .*NODE.*$/m, (line) =>
      ['n1', 'n2'].map((node) => line.replaceAll('NODE', node)).join('\n'),
    );
  const port = await freePort();
  const ca = await file('ca.pem', authority.certificate);
  const redisArgs = [
    ...['--tls-port', `${port}`, '--bind', '127.0.0.1', '--tls-ca-cert-file', ca],
    ...['--tls-cert-file', await file('server.pem', server.certificate)],
    ...['--tls-key-file', await file('server.key', server.key)],
    ...['--tls-auth-clients', 'yes', '--aclfile', await file('users.acl', acl)],
  ];
  const certificate = await file('client.pem', client.certificate);
  const key = await file('client.key', client.key);
  const urlFor = (user: string, password: string) =>
    `rediss://${user}:${password}@localhost:${port}`;
  const tls = { ca, certificate, key };
  return {
    redisArgs,
    /** The settings of a program with that user. */
    env: (user: string, password: string) => ({
      ...{ REDIS_URL: urlFor(user, password), DRAY_REDIS_CA: ca },
      ...{ DRAY_REDIS_CERT: certificate, DRAY_REDIS_KEY: key },
    }),
    target: (user: string, password: string): RedisTarget => ({
      ...{ url: urlFor(user, password), prefix, tls },
    }),
    passwordFile: (password: string) => file('password', `${password}\n`),
    [Symbol.asyncDispose]: () => rm(folder, { recursive: true }),
  };
}

/** Who was refused what since the last call, as ACL LOG has it. */
async function refusals(redis: Redis): Promise<string[]> {
  const entries = (await redis.call('ACL', 'LOG')) as unknown[][];
  await redis.call('ACL', 'LOG', 'RESET');
  return entries.map((entry) => {
    const fields = new Map<unknown, unknown>();
    for (let i = 0; i < entry.length; i += 2) fields.set(entry[i], entry[i + 1]);
    const info = /cmd=(\S+)/.exec(String(fields.get('client-info')))?.[1];
    return `${fields.get('username')} ${fields.get('reason')} ${fields.get('object')} ${info}`;
  });
}

test('each program of a fleet does its work as the Redis user of its role, over TLS', {
  timeout: 120_000,
}, async (t) => {
  if (!requireRoot(t) || !requireTool(t, 'docker-registry', 'redis-server', 'openssl')) return;
  await using guarded = await startGuarded();
  await using registry = await startRegistry();
  await using fleet = await startFleet({ redisArgs: guarded.redisArgs });
  const tars = await Promise.all([1, 2].map((i) => randomLayer(1_000_000, `file-${i}`)));
  const image = await pushImage(registry.host, 'app', 'v1', tars);

  await fleet.startWorker('w1', guarded.env('dray-worker', 'WORKER_PASSWORD'));
  for (const node of ['n1', 'n2']) {
    await fleet.startAgent(node, guarded.env(`dray-agent-${node}`, 'AGENT_PASSWORD'));
  }
  // A password that stands in a file is in no environment.
  const api = {
    ...fleet.env,
    ...guarded.env('dray-api', 'wrong'),
    DRAY_REDIS_PASSWORD_FILE: await guarded.passwordFile('API_PASSWORD'),
  };
  const run = async (...args: string[]) => {
    const ended = await dray(args, { env: api });
    assert.equal(ended.code, 0, `dray ${args.join(' ')}: ${ended.stderr}`);
    return ended.stdout;
  };
  await run('registry', 'limits', registry.host, '--rate', '100');
  assert.match(await run('nodes'), /n1/);
  assert.match(await run('pull', '--node', 'n1', image.reference), new RegExp(image.digest));
  // A node that is done lets the next one begin.
  const paced = { reference: image.reference, nodes: ['n1', 'n2'], pace: { parallelism: 1 } };
  assert.equal((await fleet.ended(await fleet.pull(paced))).state, 'ready');
  assert.match(await run('pulls'), /ready/);
  assert.match(await run('images'), /app/);
  assert.match(await run('status'), /PONG/);
  assert.deepEqual(
    [...new Set(await refusals(fleet.redis))],
    [],
    'a role lacks a right that it needs',
  );

  const wrong = await dray(['nodes'], { env: { ...api, ...guarded.env('dray-api', 'wrong') } });
  assert.equal(wrong.code, 0, 'the file counts, not the URL');
  const refused = await dray(['nodes'], {
    env: { ...fleet.env, ...guarded.env('dray-api', 'hunter2') },
  });
  assert.equal(refused.code, 1);
  assert.match(refused.stderr, /WRONGPASS/);
  assert.doesNotMatch(refused.stderr, /hunter2/);
});

test("an agent's user can do nothing that is a worker's, another node's or an administrator's", {
  timeout: 60_000,
}, async (t) => {
  if (!requireTool(t, 'redis-server', 'openssl')) return;
  await using guarded = await startGuarded();
  await using _server = await startRedis({ args: guarded.redisArgs });
  const connect = (user: string, password: string) => {
    const redis = connectRedis(guarded.target(user, password), { name: 'test', patient: true });
    t.after(() => redis.disconnect());
    return redis;
  };
  const agent = connect('dray-agent-n1', 'AGENT_PASSWORD');
  const api = connect('dray-api', 'API_PASSWORD');
  const worker = connect('dray-worker', 'WORKER_PASSWORD');
  const own = `${prefix}:dray`;
  const denied = async (what: string, call: Promise<unknown>) => {
    await assert.rejects(call, /NOPERM/, what);
  };

  // BullMQ adds a job with a script: what that may touch is checked too.
  const add = async (redis: Redis, name: string) => {
    const queue = new Queue(name, { connection: redis, prefix, skipMetasUpdate: true });
    queue.on('error', () => {});
    await queue.add('job', {});
  };
  for (const name of ['resolve', 'fetch-blob', 'unpack@n2']) {
    await denied(`the agent adds to ${name}`, add(agent, name));
    await denied(`the agent takes from ${name}`, agent.bzpopmin(`${prefix}:${name}:marker`, 1));
    await denied(`the agent looks into ${name}`, agent.llen(`${prefix}:${name}:wait`));
  }
  await add(agent, 'unpack@n1');
  await denied('the agent sets limits', agent.hset(`${own}:limits`, 'docker.io', '{}'));
  await denied('the agent takes a lease', agent.set(`${own}:lease:sha256:0`, 'me'));
  await denied('the agent listens to others', agent.subscribe('news'));
  for (const [redis, who] of [
    [agent, 'the agent'],
    [api, 'the API'],
    [worker, 'the worker'],
  ] as const) {
    await denied(`${who} reads what is not drayage's`, redis.get('other:key'));
    await denied(`${who} writes what is not drayage's`, redis.set('other:key', '1'));
    await denied(`${who} empties Redis`, redis.flushall());
    await denied(`${who} lists all keys`, redis.keys('*'));
    await denied(`${who} looks through all keys`, redis.scan(0));
    await denied(`${who} changes settings`, redis.config('SET', 'appendonly', 'no'));
    await denied(`${who} makes users`, redis.call('ACL', 'SETUSER', 'me', 'on'));
    await denied(`${who} reads along`, redis.call('MONITOR'));
  }
  await add(api, 'resolve');
  await denied('the API fetches', add(api, 'fetch-blob'));
  await denied('the API unpacks', add(api, 'unpack@n1'));
  await add(worker, 'fetch-blob');
});
