import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import path from 'node:path';
import { ListMultipartUploadsCommand, type S3Client } from '@aws-sdk/client-s3';

/** Each file stands in a committed snapshot of the node, whole, and nothing else is there: no staging either. */
export async function assertTrees(
  nodeRoot: string,
  files: ReadonlyMap<string, Buffer>,
): Promise<void> {
  const snapshots = path.join(nodeRoot, 'snapshots');
  const found: [string, string][] = [];
  for (const id of await readdir(snapshots)) {
    const names = await readdir(path.join(snapshots, id, 'fs'));
    assert.equal(names.length, 1, `the snapshot ${id} has not one file: ${names}`);
    for (const name of names) {
      found.push([name, sha256(await readFile(path.join(snapshots, id, 'fs', name)))]);
    }
  }
  const expected = [...files].map(([name, content]) => [name, sha256(content)]);
  assert.deepEqual(found.sort(), expected.sort(), `the snapshots in ${snapshots}`);
}

/** Nothing is mounted beneath a folder. */
export async function assertNoMounts(folder: string): Promise<void> {
  const mounts = await readFile('/proc/self/mountinfo', 'utf8');
  assert.deepEqual(
    mounts.split('\n').filter((line) => line.includes(folder)),
    [],
  );
}

/** No upload in parts was left open. */
export async function assertNoUploads(s3: S3Client, bucket: string): Promise<void> {
  const { Uploads = [] } = await s3.send(new ListMultipartUploadsCommand({ Bucket: bucket }));
  assert.deepEqual(
    Uploads.map(({ Key }) => Key),
    [],
  );
}

function sha256(bytes: Buffer): string {
  return createHash('sha256').update(bytes).digest('hex');
}
