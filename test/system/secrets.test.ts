import assert from 'node:assert/strict';
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { Redis } from 'ioredis';
import { dray } from '../producer/cli/dray.ts';
import { startFleet } from '../support/fleet.ts';
import { startHostileRegistry } from '../support/hostile-registry.ts';
import { startRegistry } from '../support/registry.ts';
import { requireTool } from '../support/requirements.ts';

/** Every secret that the workers get. The first one is the right one (test/support/registry.ts). */
const passwords = [
  'canary-5w0rd',
  'canary-wrong',
  'canary-helper',
  'canary-identity',
  'canary key',
];
const encode = (password: string) => Buffer.from(`reader:${password}`).toString('base64');
const login = (password: string) => ({ auth: encode(password) });
/** In the forms in which they could get somewhere. */
const canaries = passwords
  .flatMap((password) => [password, encode(password), Buffer.from(password).toString('base64')])
  .flatMap((form) => [form, form.replaceAll('=', ''), encodeURIComponent(form)]);

function assertClean(text: string, where: string): void {
  for (const canary of canaries) {
    const at = text.indexOf(canary);
    assert.equal(
      at,
      -1,
      `${where} holds ${canary}: …${text.slice(Math.max(0, at - 200), at + 60)}`,
    );
  }
}

async function everythingIn(redis: Redis): Promise<string> {
  const parts: string[] = [];
  for await (const keys of redis.scanStream({ count: 1000 })) {
    for (const key of keys as string[]) {
      const type = await redis.type(key);
      const read: Record<string, () => Promise<unknown>> = {
        string: () => redis.get(key),
        hash: () => redis.hgetall(key),
        list: () => redis.lrange(key, 0, -1),
        set: () => redis.smembers(key),
        zset: () => redis.zrange(key, 0, '-1'),
        stream: () => redis.xrange(key, '-', '+'),
      };
      assert.ok(read[type] !== undefined || type === 'none', `a key of type ${type}`);
      parts.push(`${key} ${JSON.stringify(await read[type]?.())}`);
    }
  }
  return parts.join('\n');
}

async function scanFolder(folder: string): Promise<string[]> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  const files = entries.filter((entry) => entry.isFile());
  for (const entry of files) {
    const file = path.join(entry.parentPath, entry.name);
    assertClean(file, 'the name of a file');
    assertClean(await readFile(file, 'latin1'), file);
  }
  return files.map(({ name }) => name);
}

test('no secret of the workers gets into Redis, a log, an error or the store', async (t) => {
  if (!requireTool(t, 'docker-registry', 'redis-server')) return;
  await using registry = await startRegistry({ htpasswd: true });
  const good = await registry.push('private/app', 'v1', { layers: [Buffer.from('a layer')] });
  const other = await registry.push('private/other', 'v1', { layers: [Buffer.from('b layer')] });
  await using hostile = await startHostileRegistry();
  // Sends back all that it was sent.
  const echo = (request: { headers: object; url?: string | undefined }, body = '') =>
    JSON.stringify({ errors: [{ code: 'X', message: JSON.stringify(request.headers) + body }] });
  for (const [tag, status] of [
    ['denied', 403],
    ['broken', 418],
  ] as const) {
    hostile.on(`/v2/a/manifests/${tag}`, (request, response) => {
      if (request.headers.authorization !== undefined) {
        response.writeHead(status).end(echo(request));
      } else response.writeHead(401, { 'www-authenticate': 'Basic realm="x"' }).end();
    });
  }
  hostile.on('/token', async (request, response) => {
    const chunks = await request.toArray();
    response.writeHead(400).end(echo(request, Buffer.concat(chunks).toString()));
  });
  hostile.on('/v2/identity/manifests/v1', (_request, response) => {
    const challenge = `Bearer realm="${hostile.origin}/token"`;
    response.writeHead(401, { 'www-authenticate': challenge }).end();
  });

  const secrets = await mkdtemp(path.join(tmpdir(), 'dray-secrets-'));
  t.after(() => rm(secrets, { recursive: true }));
  const write = async (place: string, content: object | string, mode = 0o600) => {
    const file = path.join(secrets, place);
    await mkdir(path.dirname(file), { recursive: true });
    await writeFile(file, typeof content === 'string' ? content : JSON.stringify(content), {
      mode,
    });
  };
  await write('docker/config.json', {
    auths: {
      [registry.host]: login('canary-5w0rd'),
      [hostile.host]: login('canary-wrong'),
      [`${hostile.host}/identity`]: { identitytoken: 'canary-identity' },
    },
  });
  await write('names/team/.dockerconfigjson', {
    auths: { [registry.host]: login('canary-5w0rd') },
  });
  await write('names/wrong.json', { auths: { [registry.host]: login('canary-wrong') } });
  await write('names/cloud.json', { credHelpers: { [registry.host]: 'canaries' } });
  await write('names/bad.json', { credHelpers: { [registry.host]: 'bad' } });
  await write('names/broken.json', `{"auths": "canary-wrong"`);
  await write(
    'bin/docker-credential-canaries',
    `#!/bin/sh\necho '{"Username":"reader","Secret":"canary-helper"}'`,
    0o755,
  );
  await write(
    'bin/docker-credential-bad',
    '#!/bin/sh\necho canary-helper; echo canary-helper >&2; exit 1',
    0o755,
  );
  await write(`certs.d/${hostile.host}/hosts.toml`, `[header]\nx-key = "canary key"\n`);
  const env = {
    DOCKER_CONFIG: path.join(secrets, 'docker'),
    DRAY_CREDENTIALS: path.join(secrets, 'names'),
    DRAY_REGISTRY_HOSTS: path.join(secrets, 'certs.d'),
    REGISTRY_AUTH_FILE: '',
    PATH: `${path.join(secrets, 'bin')}:${process.env.PATH}`,
    DRAY_LOG_LEVEL: 'trace',
  };
  await using fleet = await startFleet({ env });
  const { redis } = fleet;
  assert.ok(redis instanceof Redis);
  const monitor = await redis.monitor();
  t.after(() => monitor.disconnect());
  let commands = '';
  monitor.on('monitor', (_time: string, args: string[]) => {
    commands += `${args.join(' ')}\n`;
  });
  const workers = [await fleet.startWorker('w1'), await fleet.startWorker('w2')];

  const pulls: [reference: string, credential: string | undefined, code: string | undefined][] = [
    [`${registry.host}/private/app:v1`, undefined, undefined],
    [`${registry.host}/private/other:v1`, 'team', undefined],
    [`${registry.host}/private/app:absent`, undefined, 'IMAGE_UNKNOWN'],
    [`${registry.host}/private/app:v1`, 'wrong', 'UNAUTHORIZED'],
    [`${registry.host}/private/app:v1`, 'cloud', 'UNAUTHORIZED'],
    [`${registry.host}/private/app:v1`, 'bad', 'USAGE'],
    [`${registry.host}/private/app:v1`, 'broken', 'USAGE'],
    [`${registry.host}/private/app:v1`, 'absent', 'NOT_FOUND'],
    [`${hostile.host}/a:denied`, undefined, 'DENIED'],
    [`${hostile.host}/a:broken`, undefined, 'REGISTRY_PROTOCOL'],
    [`${hostile.host}/identity:v1`, undefined, 'UNAUTHORIZED'],
  ];
  for (const [reference, credential, code] of pulls) {
    const named = credential === undefined ? {} : { credential };
    const status = await fleet.ended(await fleet.pull({ reference, nodes: [], ...named }));
    assert.equal(status.error?.code, code, JSON.stringify(status.error));
    assertClean(JSON.stringify(status), `the status of ${reference}`);
  }
  // That it had something to hide.
  const sent = hostile.requests.map(({ headers }) => JSON.stringify(headers)).join();
  assert.ok(sent.includes(encode('canary-wrong')) && sent.includes('canary key'));
  for (const digest of [good, other].flatMap(({ layers }) => layers.map((l) => l.digest))) {
    assert.ok(commands.includes(digest));
  }

  for (const args of [
    ['pull', '--node', 'none', '--credential', 'team', `${registry.host}/private/app:v1`],
    ['fetch', '--credential', 'wrong', `${registry.host}/private/app:v1`],
    ['pulls', '-o', 'json'],
  ]) {
    const { stdout, stderr } = await dray(args, { env: { ...fleet.env, ...env } });
    assertClean(stdout + stderr, `dray ${args.join(' ')}`);
  }
  await sleep(200);
  assertClean(await everythingIn(redis), 'Redis');
  assertClean(commands, 'what was sent to Redis');
  for (const worker of workers) {
    assert.ok((await worker.log()).includes('job failed'));
    assertClean(await worker.log(), 'a log');
  }
  const files = await scanFolder(fleet.folder);
  assert.ok(files.includes('worker.log') && files.length > 10);
});
