import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { copyFile, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { promisify } from 'node:util';
import { startFleet, type TestFleet } from '../../support/fleet.ts';
import { pushImage, randomLayer } from '../../support/push.ts';
import { startRegistry, type TestRegistry } from '../../support/registry.ts';
import { startApi, type TestApi } from '../api/support.ts';

const root = path.resolve(import.meta.dirname, '../../..');
const client = path.join(root, 'producer/client');
const service = path.join(import.meta.dirname, 'example/service.ts');
const receiver = path.join(import.meta.dirname, 'example/webhook.ts');
const run = promisify(execFile);

describe('the package of the client', () => {
  let folder: string;
  let registry: TestRegistry;
  let fleet: TestFleet;
  let api: TestApi;
  before(async () => {
    folder = await mkdtemp(path.join(tmpdir(), 'dray-package-'));
    registry = await startRegistry();
    fleet = await startFleet();
    await fleet.startWorker('w1');
    api = await startApi(fleet.env);
    const tar = await randomLayer(1_000);
    await pushImage(registry.host, 'example', 'v1', [tar]);
  });
  after(async () => {
    await api[Symbol.asyncDispose]();
    await fleet[Symbol.asyncDispose]();
    await registry.stop();
    await rm(folder, { recursive: true, force: true });
  });

  test('its version is that of drayage, and it depends on nothing', async () => {
    const read = async (file: string) =>
      JSON.parse(await readFile(file, 'utf8')) as Record<string, unknown>;
    const own = await read(path.join(client, 'package.json'));
    const whole = await read(path.join(root, 'package.json'));
    assert.deepEqual([own.name, own.version], [whole.name, whole.version]);
    for (const kind of ['dependencies', 'peerDependencies', 'optionalDependencies']) {
      assert.equal(own[kind], undefined);
    }
  });

  test('the whole is no package: who packs it, or has it below node_modules, is told what is', async () => {
    await assert.rejects(
      run('npm', ['pack', '--dry-run'], { cwd: root }),
      /npm pack \.\/producer\/client/,
    );
    const cli = path.join(folder, 'node_modules/whole/producer/cli');
    await mkdir(cli, { recursive: true });
    await copyFile(path.join(root, 'producer/cli/dray'), path.join(cli, 'dray'));
    await assert.rejects(
      run(path.join(cli, 'dray'), ['--version']),
      /no TypeScript below node_modules/,
    );
    await rm(path.join(folder, 'node_modules'), { recursive: true });
  });

  test('packed and installed in an empty folder, it type-checks and runs the example service', async () => {
    await run('npm', ['pack', client, '--pack-destination', folder], { cwd: root });
    const [tarball = ''] = await readdir(folder);
    await writeFile(path.join(folder, 'package.json'), '{"type":"module","private":true}');
    await run('npm', ['install', '--offline', '--no-audit', '--no-fund', `./${tarball}`], {
      cwd: folder,
    });
    assert.deepEqual(await readdir(path.join(folder, 'node_modules')), [
      '.package-lock.json',
      'drayage',
    ]);
    await copyFile(service, path.join(folder, 'service.ts'));
    await copyFile(receiver, path.join(folder, 'webhook.ts'));
    // What its own package says must be enough for who checks libraries too.
    const types = ['--typeRoots', path.join(root, 'node_modules/@types'), '--types', 'node'];
    const options = ['--noEmit', '--strict', '--skipLibCheck', 'false', '--module', 'nodenext'];
    const target = ['--target', 'es2023', '--exactOptionalPropertyTypes'];
    await run(
      path.join(root, 'node_modules/.bin/tsc'),
      [...options, ...target, ...types, 'service.ts', 'webhook.ts'],
      { cwd: folder },
    ).catch((error: { stdout?: string }) => assert.fail(error.stdout));
    const env = { ...process.env, DRAY_URL: api.url };
    const start = (reference: string) =>
      run(process.execPath, ['service.ts', `${registry.host}/${reference}`], { cwd: folder, env });
    const { stdout } = await start('example:v1');
    assert.match(stdout, /^ready: 3 of 3 blobs, 0 of 0 nodes$/m);
    assert.match(stdout, /example:v1 is sha256:[0-9a-f]{64}$/m);
    await assert.rejects(start('none:v1'), /does not have/);
  });
});
