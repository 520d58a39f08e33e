import assert from 'node:assert/strict';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { describe, type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { inspect } from 'node:util';
import { CredentialHelpers } from '../../../../../worker/fleet/registry/credentials/helper.ts';
import { createCredentials } from '../../../../../worker/fleet/registry/credentials/source.ts';
import { until } from '../../../../support/until.ts';
import { failure } from '../support.ts';

/** A program `docker-credential-NAME` of shell, which writes down how it is called. */
async function setUp(t: TestContext, script: string, deadlineMs = 10_000) {
  const folder = await mkdtemp(path.join(tmpdir(), 'dray-helper-'));
  t.after(() => rm(folder, { recursive: true }));
  const log = path.join(folder, 'log');
  const install = async (text: string, name = 'test') =>
    await writeFile(
      path.join(folder, `docker-credential-${name}`),
      `#!/bin/sh\ninput=$(cat); echo "$1 $input" >>"${log}"\n${text}\n`,
      { mode: 0o755 },
    );
  await install(script);
  const env = { PATH: `${folder}:${process.env.PATH}`, HOME: folder, DOCKER_CONFIG: folder };
  const helpers = new CredentialHelpers({ env, deadlineMs });
  const calls = async () => (await readFile(log, 'utf8').catch(() => '')).split('\n').slice(0, -1);
  return { folder, env, helpers, install, calls };
}

const answer = (username: string, secret: string) =>
  `echo '${JSON.stringify({ ServerURL: 'x', Username: username, Secret: secret })}'`;
const base64 = (document: object) => Buffer.from(JSON.stringify(document)).toString('base64url');
const inSeconds = (seconds: number) => Math.floor(Date.now() / 1000) + seconds;

describe('credential helpers', () => {
  test('credHelpers, then auths, then credsStore', async (t) => {
    const { folder, env, install, calls } = await setUp(t, answer('helper', 'h'));
    await install(answer('store', 's'), 'all');
    const auth = Buffer.from('file:f').toString('base64');
    await writeFile(
      path.join(folder, 'config.json'),
      JSON.stringify({
        auths: { 'a.test': { auth }, 'b.test': { auth }, 'c.test': {} },
        credHelpers: { 'a.test': 'test' },
        credsStore: 'all',
      }),
    );
    const source = createCredentials({ env });
    const passwordOf = async (registry: string) => {
      const found = await source({ registry });
      return found !== undefined && 'password' in found ? [found.password, found.from] : undefined;
    };
    const file = path.join(folder, 'config.json');
    assert.deepEqual(await passwordOf('a.test'), ['h', `docker-credential-test (${file})`]);
    assert.deepEqual(await passwordOf('b.test'), ['f', file]);
    assert.deepEqual(await passwordOf('c.test'), ['s', `docker-credential-all (${file})`]);
    assert.deepEqual(await passwordOf('docker.io'), ['s', `docker-credential-all (${file})`]);
    assert.deepEqual(await calls(), [
      'get a.test',
      'get c.test',
      'get https://index.docker.io/v1/',
    ]);
  });

  test('is asked once by all who ask at the same time, and kept', async (t) => {
    const { helpers, calls } = await setUp(t, `sleep 0.1; ${answer('u', 'p')}`);
    const get = () => helpers.get('test', 'r.test');
    assert.equal(
      new Set((await Promise.all([get(), get(), get()])).map((c) => inspect(c))).size,
      1,
    );
    await get();
    assert.equal((await calls()).length, 1);
    await helpers.get('test', 'r.test', { fresh: true });
    assert.equal((await calls()).length, 2);
  });

  test('is asked again when its secret ends: a JWT, and a token of ECR', async (t) => {
    for (const [soon, later] of [
      [`e.${base64({ exp: inSeconds(61) })}.s`, `e.${base64({ exp: inSeconds(3600) })}.s`],
      [base64({ expiration: inSeconds(61) }), base64({ expiration: inSeconds(3600) })],
    ] as const) {
      const { helpers, install, calls } = await setUp(t, answer('AWS', soon));
      await helpers.get('test', 'r.test');
      await sleep(1_100);
      await install(answer('AWS', later));
      const found = await helpers.get('test', 'r.test');
      assert.deepEqual(found, { username: 'AWS', password: later, from: 'docker-credential-test' });
      await sleep(1_100);
      await helpers.get('test', 'r.test');
      assert.equal((await calls()).length, 2);
    }
  });

  test('an identity token; and nothing for a registry', async (t) => {
    const { helpers, install } = await setUp(t, answer('<token>', 'refresh'));
    const found = await helpers.get('test', 'r.test');
    assert.deepEqual(found, { identityToken: 'refresh', from: 'docker-credential-test' });
    await install('echo "credentials not found in native keychain"; exit 1');
    assert.equal(await helpers.get('test', 'other.test'), undefined);
  });

  test('one that takes too long is ended, with what it started', async (t) => {
    const { helpers, folder } = await setUp(t, 'sleep 600 & echo $! >"$HOME/pid"; wait', 3_000);
    await assert.rejects(
      helpers.get('test', 'r.test'),
      failure('TIMEOUT', { retryable: true, message: /docker-credential-test .* 3 s/ }),
    );
    const pid = Number(await readFile(path.join(folder, 'pid'), 'utf8'));
    await until('its child’s end', async () => {
      const state = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => 'gone) Z');
      return /\) [ZX]/.test(state);
    });
  });

  test('one that is missing, fails or talks nonsense: said without its words', async (t) => {
    const { helpers, install } = await setUp(t, '');
    await assert.rejects(
      helpers.get('absent', 'r.test'),
      failure('TOOL_MISSING', { hint: /PATH/ }),
    );
    for (const [script, message] of [
      ['echo canary; echo canary >&2; exit 3', /ended with 3/],
      ['echo canary', /no credential/],
      [`echo '{"Username":"u","secret":"canary"}'`, /no credential/],
      ['yes canary', /docker-credential-test/],
    ] as const) {
      await install(script);
      await assert.rejects(helpers.get('test', 'r.test'), (error) => {
        failure('USAGE', { message, retryable: false })(error);
        assert.doesNotMatch(inspect(error, { depth: 9 }), /canary/);
        return true;
      });
    }
  });
});
