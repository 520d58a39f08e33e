import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { describe, test } from 'node:test';
import { DrayError } from '../../../../shared/errors.ts';
import { layoutOf } from '../../../../worker/agent/containers/layout.ts';
import { until } from '../../../support/until.ts';
import {
  imageName,
  openNode,
  outputOf,
  removeRoot,
  requireContainers,
  runToEnd,
  temporaryNode,
  temporaryRoot,
  tinyImage,
} from './node.ts';

const shell = (script: string) => ['/bin/sh', '-c', script];

describe('containers', () => {
  test('the exit codes of the field come back', async (t) => {
    if (!requireContainers(t)) return;
    await using node = await temporaryNode();
    const { containers } = node;
    const ends: [string, string[], number][] = [
      ['zero', ['true'], 0],
      ['three', shell('exit 3'), 3],
      ['one', shell('echo wrong >&2; exit 1'), 1],
      ['broken', ['/bin/broken'], 126],
      ['script', ['/bin/script'], 127],
    ];
    for (const [id, args, wanted] of ends) {
      const { exitCode } = await runToEnd(containers, id, args);
      assert.equal(exitCode, wanted, id);
      assert.equal(containers.inspect(id).state, 'exited');
    }
    const refused: [string, string, number][] = [
      ['missing', 'nosuch', 127],
      ['missing-path', '/bin/nosuch', 127],
      ['folder', '/bin', 126],
      ['no-program', '/etc/passwd', 126],
    ];
    for (const [id, command, wanted] of refused) {
      await containers.create({ id, image: imageName, options: { args: [command] } });
      await assert.rejects(containers.start(id), (error) => {
        assert(error instanceof DrayError);
        assert.equal(error.code, 'RUNTIME_FAILED');
        assert.equal(error.context.exitCode, wanted, error.message);
        return true;
      });
      assert.equal((await containers.wait(id)).exitCode, wanted);
    }
    const table = await readFile('/proc/self/mountinfo', 'utf8');
    assert(!table.includes(node.root), 'an ended container has nothing mounted');
  });

  test('an agent that stops leaves nothing in /run, unless a container runs', async (t) => {
    if (!requireContainers(t)) return;
    const root = await temporaryRoot();
    const { run } = layoutOf(root);
    const during = async (
      work: (node: Awaited<ReturnType<typeof openNode>>) => Promise<unknown>,
    ) => {
      await using node = await openNode(root);
      assert.ok(existsSync(run));
      await work(node);
    };
    await during(async () => {});
    assert.ok(!existsSync(run));
    await during(async ({ containers }) => {
      const options = { args: shell('sleep 600') };
      await containers.create({ id: 'c', image: imageName, options });
      await containers.start('c');
    });
    assert.ok(existsSync(run));
    await during(async ({ containers }) => {
      assert.equal(containers.inspect('c').state, 'running');
      await containers.remove('c', { force: true });
    });
    assert.ok(!existsSync(run));
    await removeRoot(root);
  });

  test('output is exact: binary, no newline at the end, both streams, larger than a pipe', async (t) => {
    if (!requireContainers(t)) return;
    await using node = await temporaryNode();
    const { containers } = node;
    const small = await runToEnd(
      containers,
      'small',
      shell(`printf 'a\\n\\nb\\0\\377'; printf 'err\\r' >&2`),
    );
    assert.deepEqual(small.stdout, Buffer.from('a\n\nb\0\xff', 'latin1'));
    assert.deepEqual(small.stderr, Buffer.from('err\r'));
    const large = await runToEnd(containers, 'large', shell('seq 1 200000; printf end'));
    const lines = large.stdout.toString().split('\n');
    assert.equal(lines.length, 200_001);
    assert.deepEqual([lines[0], lines[199_999], lines[200_000]], ['1', '200000', 'end']);
    const empty = await runToEnd(containers, 'empty', ['true']);
    assert.equal(empty.stdout.length + empty.stderr.length, 0);
  });

  test('output is followed as it comes, and kill ends it with 137', async (t) => {
    if (!requireContainers(t)) return;
    await using node = await temporaryNode();
    const { containers } = node;
    await containers.create({
      id: 'ticker',
      image: imageName,
      options: { args: shell('echo first; sleep 0.3; printf second; sleep 60') },
    });
    const { output: logs } = await containers.logs('ticker', { follow: true });
    await containers.start('ticker');
    let seen = '';
    for await (const { bytes } of logs) {
      seen += Buffer.from(bytes).toString();
      if (seen === 'first\nsecond') await containers.kill('ticker', 'SIGKILL');
    }
    assert.equal(seen, 'first\nsecond');
    assert.equal((await containers.wait('ticker')).exitCode, 137);
    await assert.rejects(containers.kill('ticker', 'TERM'), { code: 'CONFLICT' });
  });

  test('the process gets user, folder, environment, mounts and network as asked', async (t) => {
    if (!requireContainers(t)) return;
    await using node = await temporaryNode(() =>
      tinyImage({
        Entrypoint: ['/bin/sh', '-c'],
        Cmd: ['echo cmd'],
        Env: ['A=image', 'B=image'],
        User: 'redis',
        WorkingDir: 'data/deep',
      }),
    );
    const { containers } = node;
    const facts = await runToEnd(
      containers,
      'facts',
      [
        'id; pwd; echo $A $B $HOME; grep -E "NoNewPrivs|Seccomp:|CapEff" /proc/self/status; ls /sys/class/net; cat /etc/hostname; umask',
      ],
      { env: ['B=caller'], network: 'none', mounts: [{ type: 'tmpfs', target: '/scratch' }] },
    );
    assert.equal(facts.stderr.toString(), '');
    assert.equal(
      facts.stdout.toString().replaceAll('\t', ' '),
      [
        'uid=999(redis) gid=998(redis) groups=998(redis),1500(extra)',
        '/data/deep',
        'image caller /data',
        'CapEff: 0000000000000000',
        'NoNewPrivs: 1',
        'Seccomp: 2',
        'lo',
        'facts',
        '0022',
        '',
      ].join('\n'),
    );
    assert.equal((await runToEnd(containers, 'default', [])).stdout.toString(), 'cmd\n');
  });

  test('what a container wrote is kept until it is removed; it can be started again', async (t) => {
    if (!requireContainers(t)) return;
    await using node = await temporaryNode();
    const { containers, snapshots } = node;
    const script = 'if [ -e /seen ]; then echo again; else echo once > /seen; echo new; fi';
    const first = await runToEnd(containers, 'twice', shell(script));
    assert.equal(first.stdout.toString(), 'new\n');
    const output = outputOf(containers, 'twice');
    await containers.start('twice');
    await containers.wait('twice');
    await output;
    assert.equal((await outputOf(containers, 'twice')).stdout.toString(), 'new\nagain\n');
    await containers.remove('twice');
    await assert.rejects(containers.remove('twice'), { code: 'NOT_FOUND' });
    assert.deepEqual(
      snapshots.list().map(({ kind }) => kind),
      ['committed'],
    );
  });

  test('two with one id, a running one and what is not there are refused', async (t) => {
    if (!requireContainers(t)) return;
    await using node = await temporaryNode();
    const { containers } = node;
    const options = { args: ['sleep', '60'] };
    await containers.create({ id: 'one', image: imageName, options });
    await assert.rejects(containers.create({ id: 'one', image: imageName }), { code: 'CONFLICT' });
    await containers.start('one');
    await assert.rejects(containers.start('one'), { code: 'CONFLICT' });
    await assert.rejects(containers.remove('one'), { code: 'CONFLICT' });
    await containers.remove('one', { force: true });
    assert.equal((await containers.wait('one')).exitCode, 137);
    assert.deepEqual(containers.list(), []);
    for (const id of ['../x', '-x', '', 'a\0b', 'a/b', 'x'.repeat(129)]) {
      await assert.rejects(containers.create({ id, image: imageName }), { code: 'USAGE' });
    }
  });

  test('a container that can not be made leaves nothing', async (t) => {
    if (!requireContainers(t)) return;
    await using node = await temporaryNode();
    const { containers, snapshots } = node;
    const cases: [object, string][] = [
      [{}, 'COMMAND_MISSING'],
      [{ args: ['true'], user: 'nobody-here' }, 'USER_UNKNOWN'],
      [{ args: ['true'], user: '4294967295' }, 'CONFIG_INVALID'],
      [{ args: ['true'], workingDirectory: '/proc/self/fd/7' }, 'CONFIG_INVALID'],
      [
        { args: ['true'], mounts: [{ type: 'bind', source: '/no/such', target: '/x' }] },
        'CONFIG_INVALID',
      ],
      [
        {
          args: ['true'],
          env: Array.from({ length: 20 }, (_, i) => `V${i}=${'x'.repeat(60_000)}`),
        },
        'CONFIG_INVALID',
      ],
    ];
    for (const [options, code] of cases) {
      await assert.rejects(containers.create({ id: 'bad', image: imageName, options }), { code });
    }
    assert.deepEqual(containers.list(), []);
    assert.deepEqual(
      snapshots.list().map(({ kind }) => kind),
      ['committed'],
    );
    assert(!(await readFile('/proc/self/mountinfo', 'utf8')).includes(node.root));
  });

  test('--rm: it is removed once it has ended, and its exit is still told', async (t) => {
    if (!requireContainers(t)) return;
    await using node = await temporaryNode();
    const { containers } = node;
    await containers.create({
      id: 'brief',
      image: imageName,
      options: { args: shell('echo out; exit 4') },
      autoRemove: true,
    });
    const output = outputOf(containers, 'brief');
    await containers.start('brief');
    assert.equal((await output).stdout.toString(), 'out\n');
    assert.equal((await containers.wait('brief')).exitCode, 4);
    await until('that it is removed', () => containers.list().length === 0);
    assert.equal((await containers.wait('brief')).exitCode, 4);
  });
});
