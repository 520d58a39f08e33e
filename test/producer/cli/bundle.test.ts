import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import {
  cp,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  rename,
  rm,
  symlink,
  writeFile,
} from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { promisify } from 'node:util';
import { dray } from './dray.ts';

const run = promisify(execFile);
const checkout = path.resolve(import.meta.dirname, '../../..');
const saying = 'Moves container images';

describe('the command in one file', () => {
  let folder: string;
  before(async () => {
    folder = await copyOfCheckout();
    await build(folder);
  });
  after(async () => {
    await rm(folder, { recursive: true, force: true });
  });

  test('is what the launcher starts, also where the checkout was moved to', async () => {
    await markBundle(folder);
    assert.match((await help(folder)).stdout, /BUNDLE Moves/);
    const moved = `${folder}-moved`;
    await rename(folder, moved);
    folder = moved;
    assert.match((await help(folder)).stdout, /BUNDLE Moves/);
  });

  test('does what the sources do, with the files beside them', async () => {
    const bundled = [
      '--version',
      'help run',
      'completion bash',
      'nope',
      'images',
      'images -o yaml',
      'doctor',
      'pull UPPER',
    ];
    for (const words of bundled.map((line) => line.split(' '))) {
      const env = { DRAY_STATE: path.join(folder, 'state') };
      const program = path.join(folder, 'producer/cli/dray');
      const [here, there] = [await sources(words, env), await dray(words, { env, program })];
      assert.deepEqual(there, here, words.join(' '));
    }
  });

  test('is used in an image, whose layers keep times in whole seconds', async () => {
    const dockerfile = await readFile(path.join(checkout, 'deploy/Dockerfile'), 'utf8');
    const touch = /^RUN (find .* -exec touch .* \{\} \+)/m.exec(dockerfile)?.[1];
    assert.ok(touch !== undefined);
    const image = await mkdtemp(path.join(tmpdir(), 'dray-image-'));
    try {
      await run('sh', ['-c', touch], { cwd: folder });
      await build(folder);
      await markBundle(folder);
      // GNU's own form of an archive has no fractions of a second, as a layer has none.
      await run('sh', ['-c', 'tar -c --format=gnu . | tar -x -C "$0"', image], { cwd: folder });
      assert.match((await help(image)).stdout, /BUNDLE Moves/);
    } finally {
      await rm(image, { recursive: true, force: true });
    }
  });

  test('is not used when it is empty, as a power cut may leave it', async () => {
    await writeFile(bundleOf(folder), '');
    assert.ok((await help(folder)).stdout.includes(saying));
    await build(folder);
  });

  test('is not used once a source changed, and is again when it was made anew', async () => {
    await append(folder, '// changed\n');
    assert.doesNotMatch((await help(folder)).stdout, /BUNDLE/);
    await build(folder);
    await markBundle(folder);
    assert.match((await help(folder)).stdout, /BUNDLE Moves/);
    await rm(path.join(folder, 'producer/short-digest.ts'));
    assert.doesNotMatch((await help(folder)).stdout, /BUNDLE/);
  });
});

/** The sources in a folder of their own, with the packages of this checkout. */
async function copyOfCheckout(): Promise<string> {
  const folder = await mkdtemp(path.join(tmpdir(), 'dray-bundle-'));
  for (const name of ['package.json', 'producer', 'shared', 'worker']) {
    await cp(path.join(checkout, name), path.join(folder, name), { recursive: true });
  }
  const packages = path.join(checkout, 'node_modules');
  await mkdir(path.join(folder, 'node_modules'));
  for (const name of await readdir(packages)) {
    if (name === '.cache') continue;
    await symlink(path.join(packages, name), path.join(folder, 'node_modules', name));
  }
  return folder;
}

async function build(folder: string): Promise<void> {
  await run(process.execPath, [path.join(folder, 'producer/cli/bundle/build.ts')]);
}

function bundleOf(folder: string): string {
  return path.join(folder, 'node_modules/.cache/drayage/dray.cjs');
}

/** So that it tells when it runs: it is compared with the sources, not with itself. */
async function markBundle(folder: string): Promise<void> {
  const text = await readFile(bundleOf(folder), 'utf8');
  assert.ok(text.includes(saying));
  await writeFile(bundleOf(folder), text.replaceAll(saying, `BUNDLE ${saying}`));
}

async function append(folder: string, text: string): Promise<void> {
  const file = path.join(folder, 'producer/short-digest.ts');
  await writeFile(file, (await readFile(file, 'utf8')) + text);
}

async function sources(words: readonly string[], env: NodeJS.ProcessEnv) {
  const main = path.join(checkout, 'producer/cli/main.ts');
  return await dray([main, ...words], { env, program: process.execPath });
}

async function help(folder: string) {
  return await dray(['--help'], { program: path.join(folder, 'producer/cli/dray') });
}
