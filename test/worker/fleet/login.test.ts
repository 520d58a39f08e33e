import assert from 'node:assert/strict';
import {
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  readlink,
  rm,
  stat,
  symlink,
  writeFile,
} from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, describe, type TestContext, test } from 'node:test';
import { dray } from '../../producer/cli/dray.ts';
import { startHostileRegistry } from '../../support/hostile-registry.ts';
import { registryUser, startRegistry, type TestRegistry } from '../../support/registry.ts';

const { username, password } = registryUser;

describe('dray login and logout', () => {
  let registry: TestRegistry;
  before(async () => {
    registry = await startRegistry({ htpasswd: true });
  });
  after(() => registry.stop());

  async function setUp(t: TestContext) {
    const folder = await mkdtemp(path.join(tmpdir(), 'dray-login-'));
    t.after(() => rm(folder, { recursive: true }));
    const file = path.join(folder, 'docker', 'config.json');
    const env = {
      DRAY_STATE: path.join(folder, 'state'),
      DRAY_CREDENTIALS: path.join(folder, 'names'),
      DOCKER_CONFIG: path.dirname(file),
      REGISTRY_AUTH_FILE: '',
      HOME: folder,
      XDG_RUNTIME_DIR: folder,
      PATH: `${folder}:${process.env.PATH}`,
    };
    const login = async (secret: string, ...args: string[]) =>
      await dray(['login', '-u', username, '--password-stdin', ...args], {
        env,
        input: Buffer.from(secret),
      });
    const logout = async (...args: string[]) => await dray(['logout', ...args], { env });
    const read = async (place = file) => JSON.parse(await readFile(place, 'utf8'));
    return { folder, file, env, login, logout, read };
  }
  const entry = { auth: Buffer.from(`${username}:${password}`).toString('base64') };

  test('a login that the registry accepts is kept, for its owner alone', async (t) => {
    const { folder, file, login, logout, read } = await setUp(t);
    const { code, stdout, stderr } = await login(`${password}\r\n`, `http://${registry.host}/v2/`);
    assert.equal(code, 0, stderr);
    assert.equal(stdout, '');
    assert.match(stderr, new RegExp(`^${registry.host} accepts the login; .* ${file}\n$`));
    assert.ok(!stderr.includes(password));
    assert.deepEqual(await read(), { auths: { [registry.host]: entry } });
    assert.equal((await stat(file)).mode & 0o777, 0o600);
    assert.equal((await stat(path.dirname(file))).mode & 0o777, 0o700);
    assert.deepEqual(await readdir(path.dirname(file)), ['config.json']);
    await assert.rejects(stat(path.join(folder, 'state')), 'a fleet was started');

    const out = await logout(registry.host);
    assert.deepEqual([out.code, out.stdout], [0, '']);
    assert.deepEqual(await read(), { auths: {} });
    assert.match((await logout(registry.host)).stderr, /there is no login/);
  });

  test('one that it refuses is not kept, and nothing of it is shown', async (t) => {
    const { file, login } = await setUp(t);
    const { code, stdout, stderr } = await login('canary-wrong', registry.host);
    assert.equal(code, 1);
    assert.equal(stdout, '');
    assert.match(stderr, /error: .*UNAUTHORIZED.*\n {2}hint: .*password.*Nothing was kept/);
    assert.doesNotMatch(stderr, /canary/);
    await assert.rejects(stat(file));
  });

  test('what else is in the file stays; a link stays a link; rights are mended', async (t) => {
    const { folder, file, login, logout, read } = await setUp(t);
    const before = {
      auths: { 'other.test': { auth: 'eA==' }, [`https://${registry.host}/v2/`]: { auth: 'eTp6' } },
      HttpHeaders: { 'X-Meta': 'yes' },
      credHelpers: { 'gcr.io': 'gcloud' },
    };
    const target = path.join(folder, 'target.json');
    await writeFile(target, JSON.stringify(before), { mode: 0o644 });
    await mkdir(path.dirname(file));
    await symlink('../target.json', file);
    assert.equal((await login(password, registry.host)).code, 0);
    const { 'other.test': other } = before.auths;
    const auths = { 'other.test': other, [registry.host]: entry };
    assert.deepEqual(await read(target), { ...before, auths });
    assert.equal(await readlink(file), '../target.json');
    assert.equal((await stat(target)).mode & 0o777, 0o600);
    await logout(registry.host);
    assert.deepEqual(await read(), { ...before, auths: { 'other.test': other } });
  });

  test('with a helper that the file names, the helper has it', async (t) => {
    const { folder, file, login, logout, read } = await setUp(t);
    const kept = path.join(folder, 'kept');
    await writeFile(
      path.join(folder, 'docker-credential-box'),
      `#!/bin/sh
case $1 in
  store) cat >"${kept}" ;;
  get) cat "${kept}" 2>/dev/null || { echo "credentials not found"; exit 1; } ;;
  erase) rm "${kept}" ;;
esac\n`,
      { mode: 0o755 },
    );
    await mkdir(path.dirname(file));
    await writeFile(file, '{"credsStore":"box"}');
    const { code, stderr } = await login(password, registry.host);
    assert.equal(code, 0, stderr);
    assert.match(stderr, /docker-credential-box/);
    assert.deepEqual(await read(), { credsStore: 'box', auths: { [registry.host]: {} } });
    assert.deepEqual(await read(kept), {
      ServerURL: registry.host,
      Username: username,
      Secret: password,
    });
    assert.match((await logout(registry.host)).stderr, /removed/);
    await assert.rejects(stat(kept));
    assert.deepEqual(await read(), { credsStore: 'box', auths: {} });
  });

  test('under a name', async (t) => {
    const { folder, file, login, logout, read } = await setUp(t);
    const { code, stderr } = await login(password, '--credential', 'team', registry.host);
    assert.equal(code, 0, stderr);
    const named = path.join(folder, 'names', 'team.json');
    assert.deepEqual(await read(named), { auths: { [registry.host]: entry } });
    await assert.rejects(stat(file));
    await logout('--credential', 'team', registry.host);
    assert.deepEqual(await read(named), { auths: {} });
    assert.equal((await login(password, '--credential', '../team', registry.host)).code, 2);
  });

  test('logging in at the same time loses none', async (t) => {
    const { login, read } = await setUp(t);
    const open = await Promise.all([1, 2, 3].map(() => startHostileRegistry()));
    t.after(() => Promise.all(open.map((server) => server.stop())));
    for (const server of open) server.serve('/v2/', Buffer.from('{}'));
    const hosts = open.map(({ host }) => host);
    const results = await Promise.all(hosts.map((host) => login(password, host)));
    for (const { code, stderr } of results) {
      assert.equal(code, 0, stderr);
      assert.match(stderr, /asks for no login, so it was not checked/);
    }
    assert.deepEqual(Object.keys((await read()).auths).sort(), hosts.sort());
  });

  test('another login that remains is told of', async (t) => {
    const { folder, login, logout } = await setUp(t);
    await login(password, registry.host);
    const other = path.join(folder, '.config/containers/auth.json');
    await mkdir(path.dirname(other), { recursive: true });
    await writeFile(other, JSON.stringify({ auths: { [registry.host]: entry } }));
    const { stderr } = await logout(registry.host);
    assert.ok(stderr.includes(`there is still one in ${other}`), stderr);
    assert.ok(!stderr.includes(entry.auth));
  });

  test('wrong usage: no terminal, no password, no user, no registry', async (t) => {
    const { env, login } = await setUp(t);
    const input = Buffer.from(password);
    for (const [args, message] of [
      [['login', registry.host], /no terminal/],
      [['login', '--password-stdin', registry.host], /needs --username/],
      [['login', 'ghcr'], /not a registry/],
      [['login', 'ghcr.io/team'], /not a registry/],
      [['logout', ''], /not a registry/],
    ] as const) {
      const { code, stderr } = await dray(args, { env, input });
      assert.equal(code, 2, stderr);
      assert.match(stderr, message);
      assert.ok(!stderr.includes(password));
    }
    assert.match((await login('\n', registry.host)).stderr, /no password/);
  });

  test('a broken file is left as it is', async (t) => {
    const { file, login } = await setUp(t);
    await mkdir(path.dirname(file));
    await writeFile(file, '{"auths": canary');
    const { code, stderr } = await login(password, registry.host);
    assert.equal(code, 2);
    assert.match(stderr, /config\.json can't be used: it is not JSON/);
    assert.doesNotMatch(stderr, /canary/);
    assert.equal(await readFile(file, 'utf8'), '{"auths": canary');
  });
});
