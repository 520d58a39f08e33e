import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { describe, type TestContext, test } from 'node:test';
import { inspect } from 'node:util';
import { createDockerCredentials } from '../../../../worker/fleet/registry/credentials.ts';

const encode = (text: string) => Buffer.from(text).toString('base64');

async function setUp(t: TestContext) {
  const folder = await mkdtemp(path.join(tmpdir(), 'dray-credentials-'));
  t.after(() => rm(folder, { recursive: true }));
  const write = (document: unknown) =>
    writeFile(
      path.join(folder, 'config.json'),
      typeof document === 'string' ? document : JSON.stringify(document),
    );
  return { write, source: createDockerCredentials({ env: { DOCKER_CONFIG: folder } }) };
}

describe('credentials of config.json', () => {
  test('by host, with port, as a URL, and in both forms', async (t) => {
    const { write, source } = await setUp(t);
    await write({
      auths: {
        'ghcr.io': { auth: encode('a:p:w') },
        'https://r.test:5000/v2/': { username: 'b', password: 'q' },
        'https://index.docker.io/v1/': { auth: encode('hub:secret') },
        'part.test/team': { auth: encode('c:d') },
        'helper.test': {},
      },
      credsStore: 'ignored',
    });
    assert.deepEqual(await source('ghcr.io'), { username: 'a', password: 'p:w' });
    assert.deepEqual(await source('r.test:5000'), { username: 'b', password: 'q' });
    assert.deepEqual(await source('docker.io'), { username: 'hub', password: 'secret' });
    for (const other of ['r.test', 'part.test', 'helper.test', 'x.test', '__proto__']) {
      assert.equal(await source(other), undefined);
    }
  });

  test('no file is no credentials; a changed file counts at once', async (t) => {
    const { write, source } = await setUp(t);
    assert.equal(await source('r.test'), undefined);
    await write({ auths: { 'r.test': { auth: encode('a:one') } } });
    assert.equal((await source('r.test'))?.password, 'one');
    await write({ auths: { 'r.test': { auth: encode('a:number two') } } });
    assert.equal((await source('r.test'))?.password, 'number two');
  });

  test('a broken file is named, and nothing of it is shown', async (t) => {
    const { write, source } = await setUp(t);
    for (const broken of [
      '{"auths":{"r.test":{"auth":"canary" "x"',
      { auths: { x: { auth: ['canary'] } } },
    ]) {
      await write(broken);
      await assert.rejects(source('r.test'), (error) => {
        assert.match(String(error), /config\.json can't be used/);
        assert.doesNotMatch(inspect(error, { depth: 9 }), /canary/);
        return true;
      });
    }
  });
});
