import { randomUUID } from 'node:crypto';
import { open, rename, stat, utimes } from 'node:fs/promises';
import path from 'node:path';
import { type Digest, splitDigest } from '../../image/digest.ts';
import { syncFolder } from '../../sync-folder.ts';
import type { Verdict, VerifyOptions } from '../store.ts';
import { hasDigest } from '../verify.ts';
import { ifThere } from './errors.ts';
import type { Layout } from './layout.ts';
import { readFileFrom } from './read.ts';

/** See ContentStore.verify. */
export async function verify(
  layout: Layout,
  digest: Digest,
  { readOnly = false, ...options }: VerifyOptions,
): Promise<Verdict> {
  const file = layout.blob(digest);
  for (;;) {
    const handle = await ifThere(open(file, 'r'));
    if (handle === undefined) return 'missing';
    try {
      const { ino, size } = await handle.stat();
      if (await hasDigest(digest, () => readFileFrom(handle, 0, size, options))) return 'right';
      if (readOnly) return 'wrong';
      // Another file may have taken its place meanwhile.
      if ((await ifThere(stat(file)))?.ino !== ino) continue;
      const { algorithm, hex } = splitDigest(digest);
      const aside = path.join(layout.setAside, `${algorithm}-${hex}-${randomUUID()}`);
      if ((await ifThere(rename(file, aside).then(() => true))) === undefined) return 'missing';
      await utimes(aside, new Date(), new Date());
      await syncFolder(path.dirname(file));
      return 'wrong';
    } finally {
      await handle.close();
    }
  }
}
