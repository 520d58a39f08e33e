import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { putBytes } from '../../../../shared/content/blob.ts';
import { openFolderStore } from '../../../../shared/content/folder/store.ts';
import { findManifest, requireLayers } from '../../../../shared/content/stored-image.ts';
import { digestOf } from '../../../../shared/image/digest.ts';
import { temporaryFolder } from '../snapshot/agent-root.ts';
import { imageOf, layerOf, MemoryContent } from './layers.ts';

describe('an image in the store', () => {
  test('layers that nobody fetches are missed, not waited for', async () => {
    const layers = await Promise.all(['a', 'b', 'c'].map((name) => layerOf({ [name]: name })));
    const content = new MemoryContent();
    const { manifest } = imageOf(layers);
    content.commit(...layers.slice(0, 1));
    await assert.rejects(requireLayers(content, manifest), {
      code: 'BLOB_UNKNOWN',
      message: `The content store lacks layer ${layers[1]?.descriptor.digest} and 1 more`,
    });
    content.commit(...layers);
    await requireLayers(content, manifest);
  });

  test('a blob that is no manifest is not taken for a broken image', async () => {
    await using root = await temporaryFolder();
    await using store = await openFolderStore({ path: root.path });
    const bytes = Buffer.from([0x1f, 0x8b, 0xff, 0xfe]);
    const digest = digestOf(bytes);
    await putBytes(store.content, { mediaType: 'application/gzip', digest, size: 4 }, bytes, {});
    await assert.rejects(findManifest(store.content, digest), {
      code: 'MANIFEST_INVALID',
      message: new RegExp(`^${digest} is neither an index nor a manifest`),
    });
  });
});
