import { once } from 'node:events';
import { mkdir, rm } from 'node:fs/promises';
import path from 'node:path';
import { buffer } from 'node:stream/consumers';
import { gzipSync } from 'node:zlib';
import { pack } from 'tar-stream';
import { allDone } from '../../../shared/all-done.ts';
import type { LayerApplier } from './apply.ts';

const folders = 20;
const filesOfEach = 20;

/**
 * Applies a layer of its own on every thread that applies layers, and removes it: their code is compiled when the first
 * pull comes.
 * @param place.folder nobody else's; what a run that was killed left in it goes, too
 */
export async function rehearse(
  applier: Pick<LayerApplier, 'apply'>,
  { folder, layersAtOnce }: { folder: string; layersAtOnce: number },
  options: { signal: AbortSignal },
): Promise<void> {
  const layer = await exampleLayer();
  await rm(folder, { recursive: true, force: true });
  try {
    await allDone(
      Array.from({ length: layersAtOnce }, async (_, index) => {
        const target = path.join(folder, `${index}`);
        await mkdir(target, { recursive: true });
        await applier.apply(bytesOf(layer), target, options);
      }),
    );
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

async function exampleLayer(): Promise<Buffer> {
  const tar = pack();
  const whole = buffer(tar);
  const content = Buffer.alloc(2_000, 'drayage ');
  for (let folder = 0; folder < folders; folder++) {
    tar.entry({ name: `folder-${folder}/`, type: 'directory', mode: 0o755 });
    for (let file = 0; file < filesOfEach; file++) {
      const entry = tar.entry({
        ...{ name: `folder-${folder}/file-${file}`, size: content.length, mode: 0o644 },
        mtime: new Date(0),
      });
      entry.end(content);
      await once(entry, 'finish');
    }
    tar.entry({ name: `folder-${folder}/link`, type: 'symlink', linkname: 'file-0' });
  }
  tar.finalize();
  return gzipSync(await whole, { level: 1 });
}

async function* bytesOf(layer: Buffer): AsyncIterable<Uint8Array> {
  yield layer;
}
