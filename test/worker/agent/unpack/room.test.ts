import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { gzipSync, zstdCompressSync } from 'node:zlib';
import type { Descriptor } from '../../../../shared/image/descriptor.ts';
import { digestOf } from '../../../../shared/image/digest.ts';
import { requireRoom } from '../../../../worker/agent/unpack/room.ts';
import { temporaryFolder } from '../snapshot/agent-root.ts';

const mebibyte = 2 ** 20;
const zeros = Buffer.alloc(3 * mebibyte);

/** A store whose committed blobs are files, as that of a folder. */
async function fileStore(folder: string, ...blobs: Buffer[]) {
  const committed = new Map<string, string>();
  const layers: Descriptor[] = [];
  for (const [n, blob] of blobs.entries()) {
    const digest = digestOf(blob);
    const path = join(folder, `${n}`);
    await writeFile(path, blob);
    committed.set(digest, path);
    layers.push({ mediaType: 'any', digest, size: blob.length });
  }
  return {
    layers,
    content: {
      info: async (digest: Descriptor['digest']) =>
        committed.has(digest) ? { digest, size: 1, createdAt: new Date() } : undefined,
      pathOf: (digest: string) => committed.get(digest) ?? '/not/there',
    },
  };
}

const free = (bytes: number) => ({ freeBytes: async () => bytes });

describe('room on the disk of the snapshots', () => {
  test('is needed for what gzip files say of their length, of all layers together', async () => {
    await using folder = await temporaryFolder();
    const { layers, content } = await fileStore(
      folder.path,
      gzipSync(zeros),
      gzipSync(Buffer.alloc(mebibyte)),
    );
    await requireRoom(layers, content, free(4 * mebibyte));
    await assert.rejects(requireRoom(layers, content, free(4 * mebibyte - 1)), {
      code: 'NO_SPACE',
      retryable: true,
      message: `The 2 layers take at least ${4 * mebibyte} bytes; the disk of the snapshots has ${4 * mebibyte - 1} left`,
      hint: /Free space/,
    });
  });

  test('is needed for the blob at least, where no more is known', async () => {
    await using folder = await temporaryFolder();
    const { layers, content } = await fileStore(folder.path, zstdCompressSync(zeros), zeros);
    const [zstd, plain] = layers;
    assert.ok(zstd !== undefined && plain !== undefined);
    await requireRoom([zstd], content, free(zstd.size));
    await assert.rejects(requireRoom([plain], content, free(zeros.length - 1)), {
      code: 'NO_SPACE',
      message: /^The layer takes at least 3145728 bytes/,
    });
    // On its way into the store, or in one without files.
    const gzip = { ...zstd, digest: digestOf(Buffer.from('elsewhere')), size: 1000 };
    await assert.rejects(requireRoom([gzip], content, free(999)), { code: 'NO_SPACE' });
    await requireRoom([gzip], { info: content.info }, free(1000));
  });

  test('is not judged by files that are no layers', async () => {
    await using folder = await temporaryFolder();
    const odd = [Buffer.alloc(0), Buffer.from('x'), gzipSync(zeros).subarray(0, 7)];
    const { layers, content } = await fileStore(folder.path, ...odd);
    await requireRoom(layers, content, free(2 ** 32));
  });
});
