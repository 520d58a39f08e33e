import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdir, mkdtemp, rm, symlink, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { describe, test } from 'node:test';
import { resolveInRoot } from '../../../../worker/agent/runtime/rooted.ts';
import { lookupUser } from '../../../../worker/agent/runtime/user.ts';

async function temporaryRoot() {
  const root = await mkdtemp(path.join(tmpdir(), 'dray-user-'));
  await mkdir(path.join(root, 'etc'));
  return {
    root,
    passwd: path.join(root, 'etc/passwd'),
    group: path.join(root, 'etc/group'),
    [Symbol.asyncDispose]: () => rm(root, { recursive: true }),
  };
}

describe('lookupUser', () => {
  test('users are found as runc and moby find them', async () => {
    await using files = await temporaryRoot();
    await writeFile(
      files.passwd,
      '# comment\nroot:x:0:0:root:/root:/bin/sh\nredis:x:999:998::/data:/bin/sh\n' +
        '123:x:55:56::relative:/bin/sh\nbroken\nhuge:x:4294967295:0::/:/bin/sh\n',
    );
    await writeFile(
      files.group,
      'root:x:0:\nredis:x:998:\nextra:x:1500:x,redis\nmore:x:1600:redis\n',
    );
    const table: [string, number, number, number[], string][] = [
      ['', 0, 0, [0], '/root'],
      ['root', 0, 0, [0], '/root'],
      ['0', 0, 0, [0], '/root'],
      ['redis', 999, 998, [998, 1500, 1600], '/data'],
      ['999', 999, 998, [998, 1500, 1600], '/data'],
      ['redis:extra', 999, 1500, [1500], '/data'],
      ['redis:77', 999, 77, [77], '/data'],
      ['1234', 1234, 0, [0], '/'],
      ['1234:5678', 1234, 5678, [5678], '/'],
      ['123', 55, 56, [56], '/'],
      ['4294967294', 4294967294, 0, [0], '/'],
      [':extra', 0, 1500, [1500], '/root'],
    ];
    for (const [text, uid, gid, additionalGids, home] of table) {
      assert.deepEqual(
        await lookupUser(files.root, text),
        { uid, gid, additionalGids, home },
        `user "${text}"`,
      );
    }
    const refused: [string, string][] = [
      ['nobody', 'USER_UNKNOWN'],
      ['redis:nogroup', 'USER_UNKNOWN'],
      ['huge', 'USER_UNKNOWN'],
      ['4294967295', 'CONFIG_INVALID'],
      ['0:4294967295', 'CONFIG_INVALID'],
      ['-1', 'CONFIG_INVALID'],
      ['99999999999999999999', 'CONFIG_INVALID'],
      ['a:b:c', 'CONFIG_INVALID'],
      ['a\0b', 'CONFIG_INVALID'],
    ];
    for (const [text, code] of refused) {
      await assert.rejects(lookupUser(files.root, text), { code }, `user "${text}"`);
    }
  });

  test('an image without the files has numbers only', async () => {
    await using files = await temporaryRoot();
    assert.equal((await lookupUser(files.root, '7')).uid, 7);
    assert.equal((await lookupUser(files.root, '')).uid, 0);
    await assert.rejects(lookupUser(files.root, 'root'), { code: 'USER_UNKNOWN' });
  });

  test('nothing but a regular file of the image is read', async () => {
    await using files = await temporaryRoot();
    // Symlinks are followed as in the container: out of the root is the root.
    await symlink('../../../../../../etc/passwd', path.join(files.root, 'out'));
    await symlink('/out', files.passwd);
    await assert.rejects(lookupUser(files.root, 'root'), { code: 'CONFIG_INVALID' }, 'a circle');
    await rm(files.passwd);
    await symlink('/proc/../etc/hosts', files.passwd);
    await assert.rejects(lookupUser(files.root, 'root'), { code: 'USER_UNKNOWN' });
    await rm(files.passwd);
    await mkdir(path.join(files.root, 'usr'));
    await writeFile(path.join(files.root, 'usr/passwd'), 'me:x:5:6::/home/me:\n');
    await symlink('/../../usr/passwd', files.passwd);
    assert.equal((await lookupUser(files.root, 'me')).uid, 5);
    await rm(files.passwd);
    execFileSync('mkfifo', [files.passwd]);
    await assert.rejects(lookupUser(files.root, '0'), { code: 'CONFIG_INVALID' }, 'a FIFO');
    await rm(files.passwd);
    await mkdir(files.passwd);
    await assert.rejects(lookupUser(files.root, '0'), { code: 'CONFIG_INVALID' }, 'a folder');
    await rm(files.passwd, { recursive: true });
    await writeFile(files.passwd, '');
    await truncate(files.passwd, 2 ** 40);
    await assert.rejects(lookupUser(files.root, '0'), { code: 'CONFIG_INVALID' }, 'a huge file');
  });

  test('a path is resolved inside the root', async () => {
    await using files = await temporaryRoot();
    await mkdir(path.join(files.root, 'a/b'), { recursive: true });
    await symlink('../../../..', path.join(files.root, 'a/b/up'));
    await symlink('up/etc', path.join(files.root, 'a/b/escape'));
    const table = {
      '/a/b/escape/x': '/etc/x',
      '/../../etc': '/etc',
      'a/./b//up/a': '/a',
      '/no/such/../thing': '/no/thing',
    };
    for (const [from, to] of Object.entries(table)) {
      assert.equal(await resolveInRoot(files.root, from), to, from);
    }
  });
});
