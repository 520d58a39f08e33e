import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { describe, test } from 'node:test';
import { loadConfig } from '../../../shared/config/load.ts';
import { checkSettings } from '../../../shared/config/schema.ts';
import { areRightTexts } from '../../../shared/config/texts.ts';
import { DrayError } from '../../../shared/errors.ts';

describe('configuration', () => {
  const nowhere = { DRAY_STATE: '/srv/dray' };

  test('without any, everything stands in the state folder and the fleet is embedded', () => {
    const config = loadConfig({ env: nowhere });
    assert.equal(config.embedded, true);
    assert.equal(config.redis.url, 'unix:///srv/dray/redis/redis.sock');
    assert.deepEqual(config.store, { kind: 'folder', path: '/srv/dray/content' });
    assert.equal(config.agent.socket, '/srv/dray/run/agent.sock');
  });

  test('a Redis makes it a fleet, a bucket makes the store S3', () => {
    const config = loadConfig({
      env: {
        ...nowhere,
        REDIS_URL: 'rediss://user:pw@r:6380/0',
        DRAY_STORE: 's3://images/dray',
        AWS_ENDPOINT_URL_S3: 'http://s3.internal:9000',
        AWS_REGION: 'eu-1',
      },
    });
    assert.equal(config.embedded, false);
    assert.deepEqual(config.store, {
      kind: 's3',
      bucket: 'images',
      prefix: 'dray/',
      endpoint: 'http://s3.internal:9000',
      region: 'eu-1',
      forcePathStyle: true,
    });
  });

  test('the environment beats the file, the file beats the default', async (t) => {
    const folder = await mkdtemp(path.join(tmpdir(), 'dray-config-'));
    t.after(() => rm(folder, { recursive: true }));
    const file = path.join(folder, 'config.json');
    await writeFile(
      file,
      JSON.stringify({ worker: { fetches: 9, resolves: 3 }, agent: { node: 'from-file' } }),
    );
    const config = loadConfig({ env: { ...nowhere, DRAY_WORKER_FETCHES: '2', DRAY_CONFIG: file } });
    assert.equal(config.worker.fetches, 2);
    assert.equal(config.worker.resolves, 3);
    assert.equal(config.agent.node, 'from-file');
  });

  test('the limits of layers come from the file, and what is not set stays with the agent', async (t) => {
    const folder = await mkdtemp(path.join(tmpdir(), 'dray-config-'));
    t.after(() => rm(folder, { recursive: true }));
    const file = path.join(folder, 'config.json');
    assert.deepEqual(loadConfig({ env: nowhere }).agent.limits, {});
    const limits = { maxEntries: 5, maxRatio: 1.5, idleTimeoutMs: 60_000 };
    await writeFile(file, JSON.stringify({ agent: { limits } }));
    assert.deepEqual(loadConfig({ env: nowhere, file }).agent.limits, limits);
    for (const wrong of [{ maxDepth: 5000 }, { maxBytes: 0 }, { maxEntries: '5' }, { most: 1 }]) {
      await writeFile(file, JSON.stringify({ agent: { limits: wrong } }));
      assert.throws(
        () => loadConfig({ env: nowhere, file }),
        (error: unknown) =>
          error instanceof DrayError &&
          error.code === 'USAGE' &&
          error.message.includes('agent.limits'),
      );
    }
  });

  test('what is wrong is named, with the place it came from', async (t) => {
    const folder = await mkdtemp(path.join(tmpdir(), 'dray-config-'));
    t.after(() => rm(folder, { recursive: true }));
    const file = path.join(folder, 'config.json');
    await writeFile(file, JSON.stringify({ worker: { fetchs: 9 } }));
    const usage = (pattern: RegExp) => (error: unknown) =>
      error instanceof DrayError && error.code === 'USAGE' && pattern.test(error.message);
    assert.throws(() => loadConfig({ env: nowhere, file }), usage(/fetchs/));
    assert.throws(() => loadConfig({ env: nowhere, file: '/no/such/file' }), usage(/no\/such/));
    assert.throws(
      () => loadConfig({ env: { ...nowhere, DRAY_NODE: '../x' } }),
      usage(/agent\.node.*environment/),
    );
    assert.throws(() => loadConfig({ env: { ...nowhere, DRAY_STORE: 'ftp://x' } }), usage(/ftp/));
  });

  test('a setting that is right without the schema is so for the schema, too', () => {
    const texts = ['', 'x', '/x', 'a.b-c', '../x', 'host', 'bridge', 'debug', 'redis://h', 'X y'];
    const places = [
      ['stateDirectory'],
      ...['url', 'passwordFile', 'prefix'].map((name) => ['redis', name]),
      ['redis', 'tls', 'ca'],
      ...[
        ['store'],
        ['s3', 'region'],
        ['s3', 'endpoint'],
        ['log', 'level'],
        ['log', 'constructor'],
      ],
      ...['node', 'root', 'socket', 'applyThreads'].map((name) => ['agent', name]),
      ...[['agent', 'network', 'default'], ['constructor'], ['__proto__'], ['worker', 'fetches']],
    ];
    let right = 0;
    for (const place of places) {
      for (const value of [...texts, {}, [], null, 7]) {
        const [name = '', ...outer] = place.toReversed();
        const inner: object = JSON.parse(`{${JSON.stringify(name)}:${JSON.stringify(value)}}`);
        const settings = outer.reduce((found: object, at) => ({ [at]: found }), inner);
        if (!areRightTexts(settings)) continue;
        right++;
        assert.deepEqual(checkSettings(settings, 'the test'), settings);
      }
    }
    assert.ok(right > 40, `${right}`);
    assert.ok(areRightTexts({}) && !areRightTexts([]) && !areRightTexts('x'));
  });
});
