import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import { dray as run } from '../producer/cli/dray.ts';
import { startDray } from '../support/dray.ts';
import { registryUser, startRegistry } from '../support/registry.ts';
import { requireRoot, requireTool } from '../support/requirements.ts';

test('the embedded fleet pulls with what dray login keeps, from the next pull on', async (t) => {
  if (!requireRoot(t) || !requireTool(t, 'docker-registry', 'redis-server')) return;
  await using registry = await startRegistry({ htpasswd: true });
  const folder = await mkdtemp(path.join(tmpdir(), 'dray-login-'));
  t.after(() => rm(folder, { recursive: true }));
  const { username, password } = registryUser;
  const env = {
    HOME: folder,
    DOCKER_CONFIG: path.join(folder, 'docker'),
    DRAY_CREDENTIALS: path.join(folder, 'names'),
    REGISTRY_AUTH_FILE: '',
    XDG_RUNTIME_DIR: folder,
  };
  const pushed = await registry.push('private/app', 'v1', { layers: [Buffer.from('a layer')] });
  const reference = `${registry.host}/private/app:v1`;
  await using fleet = await startDray({ env });
  const login = async (...args: string[]) => {
    const { code, stderr } = await run(
      ['login', '--username', username, '--password-stdin', ...args, registry.host],
      { env: fleet.env, input: Buffer.from(password) },
    );
    assert.equal(code, 0, stderr);
  };

  const before = await fleet.tryDray('fetch', reference);
  assert.equal(before.exitCode, 1);
  assert.match(before.stderr, new RegExp(`hint: .*dray login ${registry.host}`));
  await login();
  const { stdout } = await fleet.dray('fetch', reference);
  assert.ok(stdout.includes(pushed.manifest.digest));

  await fleet.dray('logout', registry.host);
  assert.equal((await fleet.tryDray('fetch', reference)).exitCode, 1);
  await login('--credential', 'team');
  assert.equal((await fleet.tryDray('fetch', reference)).exitCode, 1);
  await fleet.dray('fetch', '--credential', 'team', reference);
});
