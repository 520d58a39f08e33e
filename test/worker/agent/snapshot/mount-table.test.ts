import assert from 'node:assert/strict';
import { test } from 'node:test';
import { mountsUsing, parseMountTable } from '../../../../worker/agent/snapshot/mount-table.ts';

const table = parseMountTable(
  [
    '21 1 254:0 / / rw,relatime shared:1 - ext4 /dev/root rw',
    '30 21 254:16 / /data rw - ext4 /dev/vdb rw',
    String.raw`40 30 0:50 / /run/a\040b rw - overlay overlay rw,lowerdir=/data/s/2/fs:/data/s/1/fs,upperdir=/data/s/3/fs,workdir=/data/s/3/work`,
    String.raw`41 30 0:51 / /run/c rw - overlay overlay ro,lowerdir+=/data/s/x\054y/fs,lowerdir+=/data/s/1/fs`,
    String.raw`42 30 0:52 / /run/d rw - overlay overlay ro,lowerdir=/data/s/p\134:q/fs:/data/s/1/fs`,
    '43 21 254:16 /s/7/fs /run/e rw - ext4 /dev/vdb rw',
    '44 21 254:0 /data/s/7/fs /run/f rw - ext4 /dev/root rw',
    'not a line of that form',
    '',
  ].join('\n'),
);

test('finds the mounts that use a folder, whatever characters it has', () => {
  const using = (folder: string) => mountsUsing(table, folder, (source) => source === folder);
  assert.deepEqual(using('/data/s/1/fs'), ['/run/a b', '/run/c', '/run/d']);
  assert.deepEqual(using('/data/s/3/fs'), ['/run/a b']);
  assert.deepEqual(using('/data/s/x,y/fs'), ['/run/c']);
  assert.deepEqual(using('/data/s/p:q/fs'), ['/run/d']);
  // The same path on another disk is another folder.
  assert.deepEqual(using('/data/s/7/fs'), ['/run/e']);
  assert.deepEqual(using('/data/s/8/fs'), []);
});
