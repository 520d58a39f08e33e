import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { buffer } from 'node:stream/consumers';
import { test } from 'node:test';
import { promisify } from 'node:util';
import { gzipSync } from 'node:zlib';
import { pack } from 'tar-stream';
import { putBytes } from '../../../shared/content/blob.ts';
import { openFolderStore } from '../../../shared/content/folder/store.ts';
import { DrayError } from '../../../shared/errors.ts';
import { mediaTypes } from '../../../shared/image/descriptor.ts';
import { digestOf, parseDigest } from '../../../shared/image/digest.ts';
import { requireRoot, requireTool } from '../../support/requirements.ts';
import { storeConformance } from './conformance.ts';
import { describeBytes, sampleBytes } from './sample.ts';

const run = promisify(execFile);

storeConformance('folder store', async () => {
  const folder = await mkdtemp(path.join(tmpdir(), 'dray-content-'));
  return {
    config: { kind: 'folder', path: path.join(folder, 'content') },
    spoil: async (digest, bytes) => {
      const file = path.join(folder, 'content', 'blobs', ...digest.split(':'));
      await rm(file);
      await writeFile(file, bytes);
    },
    close: () => rm(folder, { recursive: true, force: true }),
  };
});

async function temporaryStore() {
  const folder = await mkdtemp(path.join(tmpdir(), 'dray-content-'));
  const store = await openFolderStore({ path: path.join(folder, 'content') });
  return {
    folder,
    root: path.join(folder, 'content'),
    store,
    [Symbol.asyncDispose]: () => rm(folder, { recursive: true, force: true }),
  };
}

test('only the owner looks into the folder, and a blob has a file', async () => {
  await using temporary = await temporaryStore();
  const { store, root } = temporary;
  assert.equal((await stat(root)).mode & 0o777, 0o700);
  const bytes = sampleBytes(1000, 'file');
  await putBytes(store.content, describeBytes(bytes), bytes);
  const file = store.content.pathOf?.(describeBytes(bytes).digest) ?? '';
  assert(bytes.equals(await readFile(file)));
  assert.equal(store.describe(), `folder ${root}`);
});

test('a layout of another version is refused', async () => {
  await using temporary = await temporaryStore();
  await writeFile(path.join(temporary.root, 'oci-layout'), '{"imageLayoutVersion":"9.0.0"}');
  await assert.rejects(openFolderStore({ path: temporary.root }), { code: 'STORE_UNAVAILABLE' });
});

test('a full disk is told, and with room the blob goes on where it stopped', async (t) => {
  if (!requireRoot(t)) return;
  await using stack = new AsyncDisposableStack();
  const folder = await mkdtemp(path.join(tmpdir(), 'dray-content-'));
  stack.defer(() => rm(folder, { recursive: true, force: true }));
  await run('mount', ['-t', 'tmpfs', '-o', 'size=4m', 'tmpfs', folder]);
  stack.defer(async () => {
    await run('umount', [folder]);
  });
  const store = stack.use(await openFolderStore({ path: path.join(folder, 'content') }));
  const ballast = path.join(folder, 'ballast');
  await writeFile(ballast, Buffer.alloc(2 << 20));
  const bytes = sampleBytes(3 << 20, 'full');
  const descriptor = describeBytes(bytes);
  await assert.rejects(putBytes(store.content, descriptor, bytes), {
    ...{ code: 'NO_SPACE', retryable: true, message: /is full/ },
  });
  assert.equal(await store.content.info(descriptor.digest), undefined);
  await rm(ballast);
  await using ingest = await store.content.ingest(descriptor);
  assert(ingest.offset > 1 << 20, `it begins at ${ingest.offset}`);
  await ingest.write(bytes.subarray(ingest.offset));
  assert.equal(await ingest.commit(), 'committed');
  assert(bytes.equals(await readFile(store.content.pathOf?.(descriptor.digest) ?? '')));
});

test('a folder that can not be made is told', async () => {
  await using temporary = await temporaryStore();
  const file = path.join(temporary.root, 'oci-layout');
  await assert.rejects(openFolderStore({ path: path.join(file, 'content') }), (error) => {
    assert(error instanceof DrayError && error.code === 'STORE_UNAVAILABLE');
    return true;
  });
});

test('an index that was left behind is mended when the store is opened', async () => {
  await using temporary = await temporaryStore();
  const { store, root } = temporary;
  const target = describeBytes(sampleBytes(10, 'target'));
  await store.images.put({ name: 'example.com/a:b', target, manifest: target });
  const index = path.join(root, 'index.json');
  const written = await readFile(index, 'utf8');
  await writeFile(index, '{"schemaVersion":2,"manifests":[]}');
  await openFolderStore({ path: root });
  assert.equal(await readFile(index, 'utf8'), written);
});

test('processes that name images at once leave one right index', { timeout: 240_000 }, async () => {
  await using temporary = await temporaryStore();
  const { store, root } = temporary;
  const script = `
    const { openFolderStore } = await import(process.argv[1]);
    const store = await openFolderStore({ path: process.argv[2] });
    const target = { mediaType: 'a/b', digest: 'sha256:' + '0'.repeat(64), size: 1 };
    for (let i = 0; i < 20; i++) {
      await store.images.put({ name: 'example.com/' + process.argv[3] + ':' + i, target, manifest: target });
    }
  `;
  const module = path.join(import.meta.dirname, '../../../shared/content/folder/store.ts');
  const put = (name: string) =>
    run(process.execPath, ['--input-type=module', '-e', script, module, root, name]);
  await Promise.all(['a', 'b', 'c'].map(put));
  assert.equal((await store.images.list()).length, 60);
  const index = JSON.parse(await readFile(path.join(root, 'index.json'), 'utf8'));
  assert.equal(index.manifests.length, 60);
});

test('skopeo and umoci read an image in the folder', { timeout: 240_000 }, async (t) => {
  if (!requireTool(t, 'skopeo', 'umoci')) return;
  await using temporary = await temporaryStore();
  const { store, root, folder } = temporary;
  const archive = pack();
  archive.entry({ name: 'etc', type: 'directory' });
  archive.entry({ name: 'etc/hello' }, 'from drayage\n');
  archive.finalize();
  const tar = await buffer(archive);
  const layer = gzipSync(tar);
  const layerType = 'application/vnd.oci.image.layer.v1.tar+gzip';
  const config = Buffer.from(
    JSON.stringify({
      architecture: 'amd64',
      os: 'linux',
      config: {},
      rootfs: { type: 'layers', diff_ids: [digestOf(tar)] },
      history: [{ created_by: 'a test' }],
    }),
  );
  const manifest = Buffer.from(
    JSON.stringify({
      schemaVersion: 2,
      mediaType: mediaTypes.ociManifest,
      config: { ...describeBytes(config), mediaType: mediaTypes.ociConfig },
      layers: [{ ...describeBytes(layer), mediaType: layerType }],
    }),
  );
  for (const bytes of [layer, config, manifest]) {
    await putBytes(store.content, describeBytes(bytes), bytes);
  }
  const found = { ...describeBytes(manifest), mediaType: mediaTypes.ociManifest };
  const digest = parseDigest(`sha256:${'1'.repeat(64)}`);
  const index = { mediaType: mediaTypes.ociIndex, digest, size: 10 };
  const names = ['localhost:5000/library/hello:1.0', `localhost:5000/library/hello@${digest}`];
  for (const name of names) {
    // Of the index's other platforms nothing is in the store.
    await store.images.put({ name, target: index, manifest: found });
  }
  for (const [i, name] of names.entries()) {
    const { stdout } = await run('skopeo', ['inspect', `oci:${root}:${name}`]);
    assert.equal(JSON.parse(stdout).Digest, found.digest);
    const copy = path.join(folder, `copy${i}`);
    await run('skopeo', [...['--insecure-policy', 'copy', `oci:${root}:${name}`, `oci:${copy}:x`]]);
    const bundle = path.join(folder, `bundle${i}`);
    await run('umoci', ['unpack', '--rootless', '--image', `${root}:${name}`, bundle]);
    assert.equal(await readFile(path.join(bundle, 'rootfs/etc/hello'), 'utf8'), 'from drayage\n');
  }
});
