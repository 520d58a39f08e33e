import assert from 'node:assert/strict';
import { mkdir, mkdtemp, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { describe, type TestContext, test } from 'node:test';
import { inspect } from 'node:util';
import type { CredentialQuery } from '../../../../../worker/fleet/registry/credentials/credential.ts';
import { createCredentials } from '../../../../../worker/fleet/registry/credentials/source.ts';
import { failure } from '../support.ts';

const encode = (text: string) => Buffer.from(text).toString('base64');
const login = (text: string) => ({ auth: encode(text) });

async function setUp(t: TestContext, env: NodeJS.ProcessEnv = {}) {
  const folder = await mkdtemp(path.join(tmpdir(), 'dray-credentials-'));
  t.after(() => rm(folder, { recursive: true }));
  const write = async (file: string, document: unknown) => {
    const place = path.join(folder, file);
    await mkdir(path.dirname(place), { recursive: true });
    await writeFile(place, typeof document === 'string' ? document : JSON.stringify(document));
    return place;
  };
  const places = {
    HOME: path.join(folder, 'home'),
    XDG_RUNTIME_DIR: path.join(folder, 'run'),
    DOCKER_CONFIG: path.join(folder, 'docker'),
    REGISTRY_AUTH_FILE: path.join(folder, 'auth.json'),
    ...env,
  };
  const find = createCredentials({ env: places, folder: path.join(folder, 'names') });
  const source = async (registry: string, query: Partial<CredentialQuery> = {}) => {
    const found = await find({ registry, ...query });
    if (found === undefined) return undefined;
    const { from, ...credential } = found;
    assert.ok(from?.startsWith(folder), 'it says where it comes from');
    return credential;
  };
  return { folder, write, source };
}

describe('credentials of config.json', () => {
  test('by host, with port, as a URL, and in all forms', async (t) => {
    const { write, source } = await setUp(t);
    await write('docker/config.json', {
      auths: {
        'ghcr.io': login('a:p:w'),
        'https://r.test:5000/v2/': { username: 'b', password: 'q' },
        'https://index.docker.io/v1/': login('hub:secret'),
        'part.test/team': login('c:d'),
        'identity.test': { ...login('00000000:'), identitytoken: 'refresh-me' },
        'bearer.test': { registrytoken: 'as-it-is' },
        'helper.test': {},
      },
      credsStore: '',
    });
    assert.deepEqual(await source('ghcr.io'), { username: 'a', password: 'p:w' });
    assert.deepEqual(await source('r.test:5000'), { username: 'b', password: 'q' });
    assert.deepEqual(await source('docker.io'), { username: 'hub', password: 'secret' });
    assert.deepEqual(await source('identity.test'), { identityToken: 'refresh-me' });
    assert.deepEqual(await source('bearer.test'), { registryToken: 'as-it-is' });
    for (const other of ['r.test', 'part.test', 'helper.test', 'x.test', '__proto__']) {
      assert.equal(await source(other), undefined);
    }
  });

  test('the entry of a part of a registry counts before that of the whole', async (t) => {
    const { write, source } = await setUp(t);
    await write('auth.json', {
      auths: {
        'r.test': login('all:1'),
        'r.test/team': login('team:2'),
        'r.test/team/app': login('app:3'),
      },
    });
    const userOf = async (repository: string) => {
      const found = await source('r.test', { repository });
      return found !== undefined && 'username' in found ? found.username : undefined;
    };
    assert.equal(await userOf('team/app'), 'app');
    assert.equal(await userOf('team/other'), 'team');
    assert.equal(await userOf('teams/app'), 'all');
  });

  test('the files in their order: REGISTRY_AUTH_FILE, DOCKER_CONFIG, auth.json of containers', async (t) => {
    const { write, source } = await setUp(t);
    const files = [
      'home/.config/containers/auth.json',
      'run/containers/auth.json',
      'docker/config.json',
      'auth.json',
    ];
    for (const [order, file] of files.entries()) {
      await write(file, {
        auths: { 'r.test': login(`u:${order}`), [`only${order}.test`]: login('u:x') },
      });
      assert.deepEqual(await source('r.test'), { username: 'u', password: String(order) });
    }
    for (const order of files.keys()) assert.ok(await source(`only${order}.test`));
  });

  test('without DOCKER_CONFIG, the one of the home', async (t) => {
    const { write, source } = await setUp(t, { DOCKER_CONFIG: '', REGISTRY_AUTH_FILE: '' });
    await write('home/.docker/config.json', { auths: { 'r.test': login('a:b') } });
    assert.deepEqual(await source('r.test'), { username: 'a', password: 'b' });
  });

  test('no file is no credentials; a changed, replaced or removed file counts at once', async (t) => {
    const { folder, write, source } = await setUp(t);
    assert.equal(await source('r.test'), undefined);
    const file = await write('docker/config.json', { auths: { 'r.test': login('a:one') } });
    assert.deepEqual(await source('r.test'), { username: 'a', password: 'one' });
    await write('docker/config.json', { auths: { 'r.test': login('a:number two') } });
    assert.deepEqual(await source('r.test'), { username: 'a', password: 'number two' });
    const other = await write('docker/new', { auths: { 'r.test': login('a:number six') } });
    await rename(other, file);
    assert.deepEqual(await source('r.test'), { username: 'a', password: 'number six' });
    await rm(path.join(folder, 'docker'), { recursive: true });
    assert.equal(await source('r.test'), undefined);
  });

  test('a broken file is named, and nothing of it is shown', async (t) => {
    const { write, source } = await setUp(t);
    for (const broken of [
      '{"auths":{"r.test":{"auth":"canary" "x"',
      { auths: { x: { auth: ['canary'] } } },
      { credHelpers: { x: '../canary' } },
      { credsStore: 'a b canary' },
    ]) {
      await write('docker/config.json', broken);
      await assert.rejects(source('r.test'), (error) => {
        assert.match(String(error), /config\.json can't be used/);
        assert.doesNotMatch(inspect(error, { depth: 9 }), /canary/);
        return true;
      });
    }
  });
});

describe('credentials by name', () => {
  test('a file, and a mounted Secret that is switched, and nothing else', async (t) => {
    const { folder, write, source } = await setUp(t);
    await write('docker/config.json', {
      auths: { 'r.test': login('own:x'), 'own.test': login('own:x') },
    });
    await write('names/team.json', { auths: { 'r.test': login('team:1') } });
    await write('names/secret/..1/.dockerconfigjson', { auths: { 'r.test': login('secret:1') } });
    await write('names/secret/..2/.dockerconfigjson', { auths: { 'r.test': login('secret:2') } });
    const data = path.join(folder, 'names', 'secret', '..data');
    await symlink('..1', data);
    await symlink('..data/.dockerconfigjson', path.join(folder, 'names/secret/.dockerconfigjson'));
    assert.deepEqual(await source('r.test', { name: 'team' }), { username: 'team', password: '1' });
    assert.deepEqual(await source('r.test', { name: 'secret' }), {
      username: 'secret',
      password: '1',
    });
    await symlink('..2', `${data}-new`);
    await rename(`${data}-new`, data);
    assert.deepEqual(await source('r.test', { name: 'secret' }), {
      username: 'secret',
      password: '2',
    });
    assert.equal(await source('own.test', { name: 'team' }), undefined, 'the worker’s own login');
  });

  test('a name that is not there, and one that is no name', async (t) => {
    const { write, source } = await setUp(t);
    await write('docker/config.json', { auths: { 'r.test': login('own:x') } });
    await assert.rejects(
      source('r.test', { name: 'absent' }),
      failure('NOT_FOUND', { message: /"absent"/, hint: /names\/absent\.json/ }),
    );
    for (const name of ['../docker/config', 'a/b', '', '.hidden', 'a..b', 'UPPER']) {
      await assert.rejects(source('r.test', { name }), failure('USAGE', { hint: /63/ }));
    }
  });
});
