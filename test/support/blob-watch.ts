import { readdir, readFile } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { digestOf } from '../../shared/image/digest.ts';

export interface BlobWatch extends AsyncDisposable {
  /** Looks once more, then says what there was. */
  stop: () => Promise<{ seen: number; broken: string[] }>;
}

/** Reads every blob of a folder store as soon as it can be read, and remembers those that were not whole. */
export function watchBlobs(store: string): BlobWatch {
  const folder = path.join(store, 'blobs', 'sha256');
  const seen = new Set<string>();
  const broken: string[] = [];
  let stopped = false;
  const look = async () => {
    for (const name of await readdir(folder).catch(() => [])) {
      if (seen.has(name)) continue;
      const bytes = await readFile(path.join(folder, name)).catch(() => undefined);
      if (bytes === undefined) continue;
      seen.add(name);
      if (digestOf(bytes) !== `sha256:${name}`) broken.push(name);
    }
  };
  const watching = (async () => {
    while (!stopped) {
      await look();
      await sleep(10);
    }
    await look();
  })();
  const stop = async () => {
    stopped = true;
    await watching;
    return { seen: seen.size, broken };
  };
  return {
    stop,
    async [Symbol.asyncDispose]() {
      await stop();
    },
  };
}
