import assert from 'node:assert/strict';
import { mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import type { RunOptions } from '../../../../shared/agent/run-options.ts';
import type { ImageConfig } from '../../../../shared/image/config.ts';
import type { Host } from '../../../../worker/agent/runtime/host.ts';
import type { PlainMountRequest } from '../../../../worker/agent/runtime/mounts.ts';
import type { Spec } from '../../../../worker/agent/runtime/runtime-spec.ts';
import { parseSignal } from '../../../../worker/agent/runtime/signals.ts';
import { createSpec } from '../../../../worker/agent/runtime/spec.ts';

const host: Host = {
  // All but CAP_SYS_RESOURCE.
  boundingSet: 0x1fffeffffffn,
  oomScoreAdj: 0,
  hardLimits: new Map([['nofile', 20_000]]),
  cgroups: { version: 'v1', controllers: new Set(['cpu', 'cpuset', 'memory', 'pids']), swap: true },
  architecture: 'amd64',
  kernel: '6.1.0-test',
  x32: true,
  seccomp: {
    defaultAction: 'SCMP_ACT_ERRNO',
    defaultErrnoRet: 38,
    archMap: [
      {
        architecture: 'SCMP_ARCH_X86_64',
        subArchitectures: ['SCMP_ARCH_X86', 'SCMP_ARCH_X32'],
      },
    ],
    syscalls: [
      { names: ['read'], action: 'SCMP_ACT_ALLOW', args: [] },
      { names: ['arm_only'], action: 'SCMP_ACT_ALLOW', includes: { arches: ['arm64'] } },
      { names: ['chroot'], action: 'SCMP_ACT_ALLOW', includes: { caps: ['CAP_SYS_CHROOT'] } },
      { names: ['mount'], action: 'SCMP_ACT_ALLOW', includes: { caps: ['CAP_SYS_ADMIN'] } },
      {
        names: ['bpf'],
        action: 'SCMP_ACT_ERRNO',
        errnoRet: 1,
        excludes: { caps: ['CAP_SYS_ADMIN'] },
      },
      { names: ['ptrace'], action: 'SCMP_ACT_ALLOW', includes: { minKernel: '4.8' } },
      { names: ['future'], action: 'SCMP_ACT_ALLOW', includes: { minKernel: '7.0' } },
    ],
  },
};

let root = '';
before(async () => {
  root = await mkdtemp(path.join(tmpdir(), 'dray-spec-'));
  await mkdir(path.join(root, 'etc'));
  await writeFile(path.join(root, 'etc/passwd'), 'root:x:0:0::/root:\nredis:x:999:998::/data:\n');
  await symlink('/proc/self/fd/7', path.join(root, 'trap'));
});
after(() => rm(root, { recursive: true }));

function specOf(
  config: ImageConfig['config'],
  options: RunOptions = {},
  on: Partial<Host> = {},
): Promise<Spec> {
  return createSpec({
    imageConfig: { config },
    options,
    network: options.network ?? 'host',
    mounts: (options.mounts ?? []) as PlainMountRequest[],
    rootfs: root,
    hostname: 'box',
    host: { ...host, ...on },
    cgroupsPath: '/drayage/box',
    networkFiles: [{ source: '/bundle/hosts', target: '/etc/hosts' }],
  });
}

describe('createSpec', () => {
  test('Entrypoint and Cmd', async () => {
    const table: [ImageConfig['config'], string[] | undefined, string[]][] = [
      [{ Cmd: ['a', 'b'] }, undefined, ['a', 'b']],
      [{ Cmd: ['a', 'b'] }, ['c'], ['c']],
      [{ Entrypoint: ['e'], Cmd: ['a'] }, undefined, ['e', 'a']],
      [{ Entrypoint: ['e'], Cmd: ['a'] }, ['c', 'd'], ['e', 'c', 'd']],
      [{ Entrypoint: ['e'] }, undefined, ['e']],
      [null, ['c', ''], ['c', '']],
      [{ Entrypoint: null, Cmd: ['a'] }, [], ['a']],
    ];
    for (const [config, args, wanted] of table) {
      const { process } = await specOf(config, args === undefined ? {} : { args });
      assert.deepEqual(process.args, wanted);
    }
    for (const config of [null, {}, { Entrypoint: [], Cmd: null }]) {
      await assert.rejects(specOf(config), { code: 'COMMAND_MISSING' });
    }
    await assert.rejects(specOf({ Cmd: ['x'.repeat(128 * 1024)] }), { code: 'CONFIG_INVALID' });
    await assert.rejects(specOf({ Cmd: ['a\0b'] }), { code: 'CONFIG_INVALID' });
  });

  test('environment', async () => {
    const path = 'PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';
    const table: [string[] | null, string[], string[]][] = [
      [null, [], [path, 'HOSTNAME=box', 'HOME=/root']],
      [['PATH=/x', 'A=1'], [], ['PATH=/x', 'HOSTNAME=box', 'HOME=/root', 'A=1']],
      [['A=1'], ['A=2', 'HOME=/h'], [path, 'HOSTNAME=box', 'HOME=/h', 'A=2']],
      [['A=x=y', 'E='], [], [path, 'HOSTNAME=box', 'HOME=/root', 'A=x=y', 'E=']],
    ];
    for (const [Env, env, wanted] of table) {
      const spec = await specOf({ Cmd: ['a'], Env }, { env });
      assert.deepEqual(spec.process.env, wanted);
    }
    const tooLarge = Array.from({ length: 11 }, (_, i) => `V${i}=${'x'.repeat(100_000)}`);
    for (const Env of [['noequals'], ['=x'], ['A=\0'], [`A=${'x'.repeat(131_072)}`], tooLarge]) {
      await assert.rejects(specOf({ Cmd: ['a'], Env }), { code: 'CONFIG_INVALID' });
    }
  });

  test('working directory', async () => {
    const table: [string | null, string | undefined, string][] = [
      [null, undefined, '/'],
      ['', undefined, '/'],
      ['/data/', undefined, '/data'],
      ['data/x', undefined, '/data/x'],
      ['/data', '/other', '/other'],
      ['/../..//a/./b', undefined, '/a/b'],
    ];
    for (const [WorkingDir, workingDirectory, wanted] of table) {
      const options = workingDirectory === undefined ? {} : { workingDirectory };
      assert.equal((await specOf({ Cmd: ['a'], WorkingDir }, options)).process.cwd, wanted);
    }
    for (const WorkingDir of ['/proc/self/fd/7', '/proc/1/cwd', '/x/../proc/self/fd', '/trap']) {
      await assert.rejects(
        specOf({ Cmd: ['a'], WorkingDir }),
        { code: 'CONFIG_INVALID' },
        WorkingDir,
      );
    }
  });

  test('user and capabilities', async () => {
    const asRoot = (await specOf({ Cmd: ['a'] })).process;
    assert.equal(asRoot.capabilities.bounding.length, 14);
    assert.deepEqual(asRoot.capabilities.effective, asRoot.capabilities.bounding);
    assert.deepEqual(asRoot.user, { uid: 0, gid: 0, additionalGids: [0], umask: 0o022 });
    assert.equal(asRoot.noNewPrivileges, true);
    const asRedis = (await specOf({ Cmd: ['a'], User: 'redis' })).process;
    assert.equal(asRedis.user.uid, 999);
    assert(asRedis.env.includes('HOME=/data'));
    assert.equal(asRedis.capabilities.bounding.length, 14);
    assert.deepEqual(asRedis.capabilities.effective, []);
    const bounded = (await specOf({ Cmd: ['a'] }, {}, { boundingSet: 0b1001n })).process;
    assert.deepEqual(bounded.capabilities.bounding, ['CAP_CHOWN', 'CAP_FOWNER']);
    const overridden = (await specOf({ Cmd: ['a'], User: 'redis' }, { user: '5:6' })).process;
    assert.deepEqual([overridden.user.uid, overridden.user.gid], [5, 6]);
    await assert.rejects(specOf({ Cmd: ['a'], User: 'gone' }), { code: 'USER_UNKNOWN' });
  });

  test('limits stay within the node', async () => {
    const limits = async (on: Partial<Host>) => (await specOf({ Cmd: ['a'] }, {}, on)).process;
    assert.deepEqual((await limits({})).rlimits, [
      { type: 'RLIMIT_NOFILE', soft: 1024, hard: 20_000 },
    ]);
    assert.deepEqual((await limits({ hardLimits: new Map([['nofile', 512]]) })).rlimits, [
      { type: 'RLIMIT_NOFILE', soft: 512, hard: 512 },
    ]);
    assert.equal((await limits({ hardLimits: new Map() })).rlimits[0]?.hard, 1_048_576);
    assert.equal((await limits({ oomScoreAdj: 100 })).oomScoreAdj, 100);
    assert.equal((await limits({ oomScoreAdj: -999 })).oomScoreAdj, 0);
  });

  test('seccomp keeps the rules that hold here', async () => {
    const { seccomp } = (await specOf({ Cmd: ['a'] })).linux;
    assert.deepEqual(seccomp, {
      defaultAction: 'SCMP_ACT_ERRNO',
      defaultErrnoRet: 38,
      architectures: ['SCMP_ARCH_X86_64', 'SCMP_ARCH_X86', 'SCMP_ARCH_X32'],
      syscalls: [
        { names: ['read'], action: 'SCMP_ACT_ALLOW' },
        { names: ['chroot'], action: 'SCMP_ACT_ALLOW' },
        { names: ['bpf'], action: 'SCMP_ACT_ERRNO', errnoRet: 1 },
        { names: ['ptrace'], action: 'SCMP_ACT_ALLOW' },
      ],
    });
    // Whose rules would take time, and filter nothing.
    const without = (await specOf({ Cmd: ['a'] }, {}, { x32: false })).linux.seccomp;
    assert.deepEqual(without, { ...seccomp, architectures: ['SCMP_ARCH_X86_64', 'SCMP_ARCH_X86'] });
  });

  test('namespaces', async () => {
    const types = async (options: RunOptions, on: Partial<Host> = {}) =>
      (await specOf({ Cmd: ['a'] }, options, on)).linux.namespaces.map(({ type }) => type);
    assert.deepEqual(await types({}), ['pid', 'ipc', 'uts', 'mount']);
    assert.deepEqual(await types({ network: 'none' }), ['pid', 'ipc', 'uts', 'mount', 'network']);
    assert.deepEqual(await types({}, { cgroups: { ...host.cgroups, version: 'v2' } }), [
      'pid',
      'ipc',
      'uts',
      'mount',
      'cgroup',
    ]);
  });

  test('mounts', async () => {
    const { mounts } = await specOf(
      { Cmd: ['a'] },
      {
        mounts: [
          { type: 'tmpfs', target: '/a/b/', size: 1024, mode: 0o700 },
          { type: 'bind', source: root, target: '/a', readonly: true },
          { type: 'bind', source: `${root}/etc`, target: '/etc/hosts' },
        ],
      },
    );
    assert.deepEqual(mounts.slice(7), [
      { destination: '/a', type: 'bind', source: root, options: ['rbind', 'rprivate', 'ro'] },
      {
        destination: '/a/b',
        type: 'tmpfs',
        source: 'tmpfs',
        options: ['nosuid', 'nodev', 'noexec', 'mode=700', 'size=1024'],
      },
      {
        destination: '/etc/hosts',
        type: 'bind',
        source: `${root}/etc`,
        options: ['rbind', 'rprivate', 'rw'],
      },
    ]);
    assert.deepEqual(
      (await specOf({ Cmd: ['a'] })).mounts.map(({ destination }) => destination),
      [
        '/proc',
        '/dev',
        '/dev/pts',
        '/dev/shm',
        '/dev/mqueue',
        '/sys',
        '/sys/fs/cgroup',
        '/etc/hosts',
      ],
    );
    for (const target of ['relative', '/', '/x/..', '/a\0b']) {
      const options: RunOptions = { mounts: [{ type: 'tmpfs', target }] };
      await assert.rejects(specOf({ Cmd: ['a'] }, options), { code: 'CONFIG_INVALID' }, target);
    }
  });

  test('signals', () => {
    const table: Record<string, number> = {
      SIGTERM: 15,
      term: 15,
      '9': 9,
      SIGWINCH: 28,
      'SIGRTMIN+3': 37,
      'RTMAX-1': 63,
      RTMIN: 34,
    };
    for (const [text, number] of Object.entries(table))
      assert.equal(parseSignal(text), number, text);
    for (const text of ['', '0', '65', 'SIGNONE', '-9', 'RTMIN+40']) {
      assert.throws(() => parseSignal(text), { code: 'CONFIG_INVALID' }, text);
    }
  });
});
