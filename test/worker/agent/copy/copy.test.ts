import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, constants, openSync } from 'node:fs';
import { lstat, mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { after, before, describe, test } from 'node:test';
import { extract } from 'tar-stream';
import { DrayError } from '../../../../shared/errors.ts';
import { copyIn } from '../../../../worker/agent/copy/copy-in.ts';
import { copyOut, lookUp } from '../../../../worker/agent/copy/copy-out.ts';
import { type TarEntry, tarOf } from '../../../support/push.ts';
import { requireRoot } from '../../../support/requirements.ts';
import { startTestAgent, type TestAgent } from '../containers/agent.ts';
import { canRunContainers, imageName, requireContainers } from '../containers/node.ts';

const owner = { uid: 0, gid: 0 };
const isCode = (code: string) => (error: unknown) =>
  error instanceof DrayError && error.code === code;

/** A root folder beside which stands what must stay as it is. */
async function withRoot(use: (root: string, fd: number, outside: string) => Promise<void>) {
  const folder = await mkdtemp(path.join(tmpdir(), 'dray-copy-'));
  const [root, outside] = [path.join(folder, 'root'), path.join(folder, 'outside')];
  await mkdir(root);
  await mkdir(outside);
  await writeFile(path.join(outside, 'secret'), 'secret');
  const fd = openSync(root, constants.O_RDONLY | constants.O_DIRECTORY);
  try {
    await use(root, fd, outside);
    assert.deepEqual(await readdir(outside), ['secret']);
    assert.equal(await readFile(path.join(outside, 'secret'), 'utf8'), 'secret');
  } finally {
    closeSync(fd);
    await rm(folder, { recursive: true, force: true });
  }
}

async function write(fd: number, entries: TarEntry[], folder = '/', name?: string): Promise<void> {
  const archive = Readable.from([await tarOf(entries)]);
  await copyIn(archive, { root: fd, folder, owner, ...(name === undefined ? {} : { name }) });
}

interface ReadEntry {
  name: string;
  type: string;
  linkname: string | undefined;
  text: string;
}

async function read(fd: number, from: string, follow = false): Promise<ReadEntry[]> {
  const archive = copyOut(fd, from, { name: 'x', follow, idOf: (id) => id });
  return await entriesOf(await buffer(archive));
}

async function entriesOf(bytes: Buffer): Promise<ReadEntry[]> {
  const found: ReadEntry[] = [];
  const reader = extract();
  reader.end(bytes);
  for await (const entry of reader) {
    const { name, type, linkname } = entry.header;
    const text = (await buffer(entry)).toString();
    found.push({ name, type: type ?? '', linkname: linkname ?? undefined, text });
  }
  return found;
}

describe('copies into and out of a root folder', () => {
  test('what goes in comes out: files, folders, links, modes', async (t) => {
    if (!requireRoot(t)) return;
    await withRoot(async (root, fd) => {
      await write(fd, [
        { name: 'a', type: 'directory', mode: 0o750 },
        { name: 'a/file', content: 'text', mode: 0o4711 },
        { name: 'a/hard', type: 'link', linkname: 'a/file' },
        { name: 'a/soft', type: 'symlink', linkname: '/etc/passwd' },
        { name: 'a/.wh.file', content: 'just a name' },
        { name: 'deep/er/file', content: '2' },
      ]);
      assert.equal((await lstat(path.join(root, 'a'))).mode & 0o7777, 0o750);
      assert.equal((await lstat(path.join(root, 'a/file'))).mode & 0o7777, 0o4711);
      assert.equal((await lstat(path.join(root, 'a/hard'))).nlink, 2);
      const out = await read(fd, '/a');
      assert.deepEqual(out.map(({ name, type }) => [name.replace(/\/$/, ''), type]).sort(), [
        ['x', 'directory'],
        ['x/.wh.file', 'file'],
        ['x/file', 'file'],
        ['x/hard', 'file'],
        ['x/soft', 'symlink'],
      ]);
      assert.equal(out.find(({ name }) => name === 'x/soft')?.linkname, '/etc/passwd');
      assert.equal((await read(fd, '/deep/er/file'))[0]?.text, '2');
      await write(fd, [{ name: 'whatever', content: 'new' }], '/a', 'file');
      assert.equal(await readFile(path.join(root, 'a/file'), 'utf8'), 'new');
    });
  });

  test('a name that is not UTF-8 is refused, not left out', async (t) => {
    if (!requireRoot(t)) return;
    await withRoot(async (root, fd) => {
      await mkdir(path.join(root, 'a'));
      const name = Buffer.concat([Buffer.from(path.join(root, 'a/')), Buffer.from([0x66, 0xff])]);
      await writeFile(name, 'text');
      await assert.rejects(read(fd, '/a'), isCode('USAGE'));
      await rm(name);
      await symlink(Buffer.from([0xfe]), path.join(root, 'a/link'));
      await assert.rejects(read(fd, '/a'), isCode('USAGE'));
    });
  });

  test('nothing leads out: .., absolute links, links of links, hard links, devices', async (t) => {
    if (!requireRoot(t)) return;
    await withRoot(async (root, fd, outside) => {
      await symlink(outside, path.join(root, 'abs'));
      await symlink('../outside', path.join(root, 'up'));
      await symlink('/proc/self/root', path.join(root, 'magic'));
      await symlink('../outside/secret', path.join(root, 'file'));
      await assert.rejects(write(fd, [{ name: '../x', content: 'x' }]), isCode('USAGE'));
      for (const link of ['abs', 'up']) {
        // Inside the root there is no such folder: it is made there, or refused.
        await write(fd, [{ name: `${link}/x`, content: 'x' }]).catch((error: unknown) =>
          assert.ok(error instanceof DrayError),
        );
      }
      await assert.rejects(write(fd, [{ name: 'magic/tmp/x', content: 'x' }]));
      const stolen = { name: 'stolen', type: 'link' as const, linkname: 'file' };
      await write(fd, [stolen]);
      assert.ok((await lstat(path.join(root, 'stolen'))).isSymbolicLink());
      await write(fd, [{ name: 'file', content: 'mine' }]);
      assert.equal(await readFile(path.join(root, 'file'), 'utf8'), 'mine');
      const device = { name: 'sda', type: 'block-device' as const, devmajor: 8, devminor: 0 };
      await assert.rejects(write(fd, [device]), isCode('USAGE'));
      for (const from of ['/abs/secret', '/up/secret', '/magic/etc/passwd', '/stolen']) {
        assert.throws(() => lookUp(fd, from, { follow: true }), isCode('NOT_FOUND'), from);
        await assert.rejects(read(fd, from, true), isCode('NOT_FOUND'), from);
      }
    });
  });

  test('broken archives end, and say so', async (t) => {
    if (!requireRoot(t)) return;
    await withRoot(async (_root, fd) => {
      const whole = await tarOf([{ name: 'a', content: 'x'.repeat(5000) }]);
      const cut = copyIn(Readable.from([whole.subarray(0, 3000)]), {
        root: fd,
        folder: '/',
        owner,
      });
      await assert.rejects(cut, isCode('USAGE'));
      const noise = copyIn(Readable.from([Buffer.alloc(5000, 7)]), {
        root: fd,
        folder: '/',
        owner,
      });
      await assert.rejects(noise, isCode('USAGE'));
      await assert.rejects(read(fd, '/none'), isCode('NOT_FOUND'));
    });
  });

  test('races: whoever swaps folders for links meanwhile wins nothing', async (t) => {
    if (!requireRoot(t)) return;
    await withRoot(async (root, fd, outside) => {
      await mkdir(path.join(root, 'dir'));
      await writeFile(path.join(root, 'dir/secret'), 'own');
      await symlink(outside, path.join(root, 'link'));
      // renameat2(RENAME_EXCHANGE) by a shell would be slow: mv in a loop is fast enough here.
      const script =
        'while :; do mv -T dir d && mv -T link dir && mv -T dir link && mv -T d dir; done 2>/dev/null';
      const flipper = spawn('sh', ['-c', script], { cwd: root, stdio: 'ignore' });
      try {
        const file = { name: 'dir/new', content: 'n' };
        for (let n = 0; n < 15; n++) {
          await write(fd, [file, file, file]).catch(() => {});
          for (const { text } of await read(fd, '/').catch(() => [])) {
            assert.notEqual(text, 'secret');
          }
          for (const { text } of await read(fd, '/dir/secret', true).catch(() => [])) {
            assert.notEqual(text, 'secret');
          }
        }
      } finally {
        flipper.kill('SIGKILL');
        await once(flipper, 'close');
      }
    });
  });
});

describe('dray cp at the agent', { concurrency: false }, () => {
  let agent: TestAgent;
  before(async () => {
    if (canRunContainers()) agent = await startTestAgent();
  });
  after(async () => await agent?.[Symbol.asyncDispose]());

  test('containers that run, and that do not; what is only mounted while it runs is said', async (t) => {
    if (!requireContainers(t)) return;
    const { client } = agent;
    const mounts = [{ type: 'tmpfs' as const, target: '/mem' }];
    const options = { args: ['sleep', '1000'], mounts };
    await client.containers.create({ id: 'c', image: imageName, options });
    const send = async (folder: string, name: string) =>
      await client.containers.copyIn(
        'c',
        { path: folder, name },
        Readable.from([await tarOf([{ name: 'f', content: name }])]),
      );
    const receive = async (from: string) => {
      const chunks: Uint8Array[] = [];
      for await (const chunk of await client.containers.copyOut('c', { path: from, name: 'x' }))
        chunks.push(chunk);
      return (await entriesOf(Buffer.concat(chunks)))[0]?.text;
    };
    await send('/tmp', 'before');
    await assert.rejects(send('/mem', 'hidden'), isCode('CONFLICT'));
    await client.containers.start('c');
    await send('/tmp', 'during');
    await send('/mem', 'inside');
    assert.equal(await receive('/tmp/before'), 'before');
    assert.equal(await receive('/mem/inside'), 'inside');
    await assert.rejects(receive('/proc/1/root/tmp/before'), isCode('NOT_FOUND'));
    await client.containers.kill('c', 'SIGKILL');
    await client.containers.wait('c');
    assert.equal(await receive('/tmp/during'), 'during');
    await send('/tmp', 'behind');
    assert.equal((await client.containers.findFile('c', { path: '/tmp/behind' })).type, 'file');
    assert(!(await readFile('/proc/self/mountinfo', 'utf8')).includes(`${agent.root}/containers`));
    await client.containers.remove('c');
    await assert.rejects(receive('/tmp/during'), isCode('NOT_FOUND'));
  });
});
