import { execFile } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);

/** The programs that {@link withUmociTree} needs. */
export const umociTools = ['skopeo', 'umoci'];

/**
 * Fetches an image with skopeo, unpacks it with umoci, and runs `use` while the tree is there.
 * umoci reads gzip and plain layers.
 */
export async function withUmociTree<T>(
  reference: string,
  use: (root: string) => Promise<T>,
): Promise<T> {
  const folder = await mkdtemp(path.join(tmpdir(), 'dray-umoci-'));
  try {
    const layout = path.join(folder, 'layout');
    const root = path.join(folder, 'root');
    await run('skopeo', [
      ...['copy', '--quiet', '--src-tls-verify=false'],
      ...[`docker://${reference}`, `oci:${layout}:image`],
    ]);
    await run('umoci', ['raw', 'unpack', '--image', `${layout}:image`, root]);
    return await use(root);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
