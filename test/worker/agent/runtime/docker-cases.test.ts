import assert from 'node:assert/strict';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { cpus, tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import type { RunOptions } from '../../../../shared/agent/run-options.ts';
import type { ImageConfig } from '../../../../shared/image/config.ts';
import { decodeSpec, type Spec } from '../../../../worker/agent/runtime/runtime-spec.ts';
import {
  imageName,
  outputOf,
  requireContainers,
  type TestNode,
  temporaryNode,
  tinyImage,
} from '../containers/node.ts';

/** What `docker run` makes of the same image and options, in the specification and as its process sees it. */
interface Case {
  name: string;
  image?: ImageConfig['config'];
  options?: RunOptions;
  /** A part of the specification, and what moby puts there. */
  spec?: [(spec: Spec) => unknown, unknown];
  /** What /bin/sh runs, unless the options have arguments of their own. */
  script?: string;
  /** What it prints. */
  prints?: string | RegExp;
  exitCode?: number;
}

const fourteen = [
  ...['CHOWN', 'DAC_OVERRIDE', 'FOWNER', 'FSETID', 'KILL', 'SETGID', 'SETUID', 'SETPCAP'],
  ...['NET_BIND_SERVICE', 'NET_RAW', 'SYS_CHROOT', 'MKNOD', 'AUDIT_WRITE', 'SETFCAP'],
].map((name) => `CAP_${name}`);
const mebi = 2 ** 20;
const status = (key: string) => `grep ^${key}: /proc/self/status`;
const mountAt = (target: string) => (spec: Spec) =>
  spec.mounts.find(({ destination }) => destination === target);
/** A value of the process's own cgroup, in either version. */
const cgroup = (controller: string, v1: string, v2: string) =>
  `cat /sys/fs/cgroup/${controller}/${v1} 2>/dev/null || cat /sys/fs/cgroup/${v2}`;

let shared = '';

const cases = (): Case[] => [
  // The process.
  {
    name: 'Cmd alone',
    image: { Cmd: ['/bin/sh', '-c', 'echo cmd'] },
    options: { args: [] },
    spec: [({ process }) => process.args, ['/bin/sh', '-c', 'echo cmd']],
    prints: 'cmd\n',
  },
  {
    name: 'Entrypoint and Cmd',
    image: { Entrypoint: ['/bin/sh', '-c'], Cmd: ['echo both'] },
    options: { args: [] },
    prints: 'both\n',
  },
  {
    name: 'arguments replace Cmd, not Entrypoint',
    image: { Entrypoint: ['/bin/sh', '-c'], Cmd: ['echo no'] },
    options: { args: ['echo mine'] },
    prints: 'mine\n',
  },
  {
    name: '--entrypoint drops Cmd',
    image: { Entrypoint: ['/no'], Cmd: ['echo no'] },
    options: { entrypoint: ['/bin/env'], args: [] },
    spec: [({ process }) => process.args, ['/bin/env']],
    prints: /^PATH=.*\nHOSTNAME=.*\nHOME=\/root\n$/,
  },
  {
    name: '--entrypoint "" leaves the arguments alone',
    image: { Entrypoint: ['/no'] },
    options: { entrypoint: [], args: ['/bin/printf', 'x'] },
    prints: 'x',
  },
  {
    name: 'a shell form is run as it is',
    image: { Cmd: ['/bin/sh', '-c', 'exec printf "$0$1"', 'a', 'b'] },
    options: { args: [] },
    prints: 'ab',
  },
  {
    name: 'the usual PATH, HOSTNAME and HOME',
    script: 'echo $PATH $HOME',
    prints: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin /root\n',
  },
  {
    name: 'Env and --env',
    image: { Env: ['A=image', 'B=image', 'PATH=/bin'] },
    options: { env: ['B=mine', 'C='] },
    script: 'echo $A $B $PATH "[$C]"',
    prints: 'image mine /bin []\n',
  },
  {
    name: 'WorkingDir is made where it is missing',
    image: { WorkingDir: '/made/up' },
    spec: [({ process }) => process.cwd, '/made/up'],
    script: 'pwd; ls -ld . | cut -c1-10',
    prints: '/made/up\ndrwxr-xr-x\n',
  },
  {
    name: '--workdir',
    image: { WorkingDir: '/no' },
    options: { workingDirectory: '/tmp' },
    script: 'pwd',
    prints: '/tmp\n',
  },
  {
    name: 'a relative WorkingDir is from the root',
    image: { WorkingDir: 'etc' },
    script: 'pwd',
    prints: '/etc\n',
  },
  {
    name: 'umask 0022',
    spec: [({ process }) => process.user.umask, 0o022],
    script: 'umask',
    prints: '0022\n',
  },
  // Users.
  {
    name: 'no User is root',
    spec: [({ process }) => process.user, { uid: 0, gid: 0, additionalGids: [0], umask: 0o022 }],
    script: 'id -u; id -G',
    prints: '0\n0\n',
  },
  {
    name: 'User by name, with its groups and home',
    image: { User: 'redis' },
    spec: [({ process }) => process.user.additionalGids, [998, 1500]],
    script: 'id -u; id -g; id -G; echo $HOME',
    prints: '999\n998\n998 1500\n/data\n',
  },
  {
    name: 'User by a number that passwd has',
    image: { User: '999' },
    script: 'id -g; echo $HOME',
    prints: '998\n/data\n',
  },
  {
    name: 'User by a number that nobody has',
    image: { User: '4242' },
    script: 'id -u; id -g; echo $HOME',
    prints: '4242\n0\n/\n',
  },
  {
    name: 'User with a group by name: no further groups',
    image: { User: 'redis:extra' },
    script: 'id -g; id -G',
    prints: '1500\n1500\n',
  },
  {
    name: '--user over User, with numbers',
    image: { User: 'redis' },
    options: { user: '5:6' },
    script: 'id -u; id -G',
    prints: '5\n6\n',
  },
  {
    name: '--group-add',
    options: { user: '5', groups: ['extra', '77'] },
    spec: [({ process }) => process.user.additionalGids, [0, 1500, 77]],
    script: 'id -G',
    prints: '0 77 1500\n',
  },
  // Rights.
  {
    name: 'the fourteen capabilities',
    spec: [({ process }) => process.capabilities.effective, fourteen],
    script: status('CapEff'),
    prints: 'CapEff:\t00000000a80425fb\n',
  },
  {
    name: 'not root: capabilities only bound',
    options: { user: '5' },
    spec: [({ process }) => process.capabilities.effective, []],
    script: `${status('CapEff')}; ${status('CapBnd')}`,
    prints: 'CapEff:\t0000000000000000\nCapBnd:\t00000000a80425fb\n',
  },
  {
    name: '--cap-drop ALL',
    options: { capDrop: ['ALL'] },
    spec: [({ process }) => process.capabilities.bounding, []],
    script: status('CapBnd'),
    prints: 'CapBnd:\t0000000000000000\n',
  },
  {
    name: '--cap-drop ALL --cap-add',
    options: { capDrop: ['ALL'], capAdd: ['net_bind_service', 'CAP_CHOWN'] },
    spec: [({ process }) => process.capabilities.bounding, ['CAP_CHOWN', 'CAP_NET_BIND_SERVICE']],
    script: status('CapEff'),
    prints: 'CapEff:\t0000000000000401\n',
  },
  {
    name: '--cap-add and --cap-drop of one',
    options: { capAdd: ['SYS_PTRACE'], capDrop: ['MKNOD'] },
    spec: [
      ({ process: { capabilities } }) => [
        capabilities.bounding.includes('CAP_SYS_PTRACE'),
        capabilities.bounding.includes('CAP_MKNOD'),
        capabilities.bounding.length,
      ],
      [true, false, 14],
    ],
    script: 'true',
  },
  {
    name: '--cap-add ALL --cap-drop NET_RAW',
    options: { capAdd: ['ALL'], capDrop: ['NET_RAW'] },
    spec: [
      ({ process: { capabilities } }) => [
        capabilities.bounding.length > 30,
        capabilities.bounding.includes('CAP_NET_RAW'),
      ],
      [true, false],
    ],
    script: 'true',
  },
  {
    name: 'nothing is gained by execve(2), and system calls are filtered',
    spec: [({ process }) => process.noNewPrivileges, true],
    script: `${status('NoNewPrivs')}; ${status('Seccomp')}`,
    prints: 'NoNewPrivs:\t1\nSeccomp:\t2\n',
  },
  {
    name: '--security-opt no-new-privileges=false',
    options: { security: { noNewPrivileges: false } },
    script: status('NoNewPrivs'),
    prints: 'NoNewPrivs:\t0\n',
  },
  {
    name: '--security-opt seccomp=unconfined',
    options: { security: { seccomp: 'unconfined' } },
    spec: [({ linux }) => linux.seccomp, undefined],
    script: status('Seccomp'),
    prints: 'Seccomp:\t0\n',
  },
  {
    name: '--security-opt seccomp=FILE',
    options: {
      security: {
        seccomp: JSON.stringify({
          defaultAction: 'SCMP_ACT_ALLOW',
          syscalls: [{ names: ['mkdir', 'mkdirat'], action: 'SCMP_ACT_ERRNO', errnoRet: 95 }],
        }),
      },
    },
    script: 'mkdir /tmp/x 2>&1',
    prints: /Operation not supported/,
    exitCode: 1,
  },
  {
    name: '--privileged',
    options: { privileged: true },
    spec: [
      ({ process, linux }) => [
        process.noNewPrivileges,
        linux.maskedPaths,
        linux.readonlyPaths,
        linux.seccomp,
        linux.resources.devices,
        linux.devices.some(({ path: device }) => device === '/dev/kmsg'),
      ],
      [false, [], [], undefined, [{ allow: true, access: 'rwm' }], true],
    ],
    script: `${status('Seccomp')}; ls /dev/kmsg`,
    prints: 'Seccomp:\t0\n/dev/kmsg\n',
  },
  {
    name: 'kernel interfaces are masked and read-only',
    script:
      'cat /proc/timer_list /proc/keys 2>/dev/null | dd bs=1 count=1 2>/dev/null; (echo x >/proc/sys/kernel/hostname) 2>&1',
    prints: /Read-only file system/,
    exitCode: 1,
  },
  {
    name: '--device',
    options: { devices: [{ source: '/dev/zero', target: '/dev/nought', access: 'r' }] },
    spec: [
      ({ linux }) => [linux.devices[0]?.path, linux.resources.devices],
      [
        '/dev/nought',
        [
          { allow: false, access: 'rwm' },
          { allow: true, type: 'c', major: 1, minor: 5, access: 'r' },
        ],
      ],
    ],
    script: 'dd if=/dev/nought bs=3 count=1 2>/dev/null | cat -v',
    prints: '^@^@^@',
  },
  // Limits.
  {
    name: '--memory has as much swap as memory',
    options: { resources: { memory: 64 * mebi } },
    spec: [({ linux }) => linux.resources.memory, { limit: 64 * mebi, swap: 128 * mebi }],
    script: cgroup('memory', 'memory.limit_in_bytes', 'memory.max'),
    prints: `${64 * mebi}\n`,
  },
  {
    name: '--memory-swap as --memory: no swap',
    options: { resources: { memory: 64 * mebi, memorySwap: 64 * mebi } },
    spec: [({ linux }) => linux.resources.memory, { limit: 64 * mebi, swap: 64 * mebi }],
    script: 'true',
  },
  {
    name: '--cpus',
    options: { resources: { cpus: 0.5 } },
    spec: [({ linux }) => linux.resources.cpu, { quota: 50_000, period: 100_000 }],
    script: cgroup('cpu', 'cpu.cfs_quota_us', 'cpu.max'),
    prints: /^50000\b/,
  },
  {
    name: '--cpu-shares and --cpuset-cpus',
    options: { resources: { cpuShares: 512, cpuset: '0' } },
    spec: [({ linux }) => linux.resources.cpu, { shares: 512, cpus: '0' }],
    script: 'grep ^Cpus_allowed_list /proc/self/status',
    prints: 'Cpus_allowed_list:\t0\n',
  },
  {
    name: '--pids-limit',
    options: { resources: { pids: 40 } },
    spec: [({ linux }) => linux.resources.pids, { limit: 40 }],
    script: cgroup('pids', 'pids.max', 'pids.max'),
    prints: '40\n',
  },
  {
    name: 'open files as far as the node has them',
    script: 'ulimit -Sn',
    prints: '1024\n',
  },
  {
    name: '--ulimit',
    options: {
      ulimits: [
        { name: 'nofile', soft: 100, hard: 200 },
        { name: 'core', soft: 0, hard: -1 },
      ],
    },
    spec: [
      ({ process }) => process.rlimits,
      [
        { type: 'RLIMIT_NOFILE', soft: 100, hard: 200 },
        { type: 'RLIMIT_CORE', soft: 0, hard: Number.POSITIVE_INFINITY },
      ],
    ],
    script: 'ulimit -Sn; ulimit -Hn; ulimit -Sc; ulimit -Hc',
    prints: '100\n200\n0\nunlimited\n',
  },
  {
    name: '--oom-score-adj',
    options: { oomScoreAdj: 500 },
    script: 'cat /proc/self/oom_score_adj',
    prints: '500\n',
  },
  // Files.
  {
    name: 'what is mounted, and how',
    spec: [
      ({ mounts }) => mounts.map(({ destination, type }) => `${destination} ${type}`),
      [
        '/proc proc',
        '/dev tmpfs',
        '/dev/pts devpts',
        '/dev/shm tmpfs',
        '/dev/mqueue mqueue',
        '/sys sysfs',
        '/sys/fs/cgroup cgroup',
        '/etc/hostname bind',
        '/etc/hosts bind',
        '/etc/resolv.conf bind',
      ],
    ],
    script: 'grep -c -E " /(sys|sys/fs/cgroup) .*\\bro," /proc/self/mountinfo',
    prints: /^[12]\n$/,
  },
  {
    name: '--shm-size',
    options: { resources: { shmSize: 8 * mebi } },
    spec: [(spec) => mountAt('/dev/shm')(spec)?.options.at(-1), 'size=8192k'],
    script: 'grep " /dev/shm " /proc/self/mounts | grep -c size=8192k',
    prints: '1\n',
  },
  {
    name: '--read-only',
    options: { readOnly: true, mounts: [{ type: 'tmpfs', target: '/scratch' }] },
    spec: [({ root }) => root.readonly, true],
    script: 'echo x >/scratch/x; (echo x >/etc/x) 2>&1',
    prints: /Read-only file system/,
    exitCode: 1,
  },
  {
    name: '--volume PATH:PATH and :ro',
    options: {
      mounts: [
        { type: 'bind', source: shared, target: '/rw' },
        { type: 'bind', source: shared, target: '/ro', readonly: true },
      ],
    },
    spec: [mountAt('/ro'), bind('/ro', shared, 'ro')],
    script: 'cat /ro/file; echo new >/rw/other; cat /ro/other; (echo x >/ro/x) 2>&1',
    prints: /^of the node\nnew\n.*Read-only file system/,
    exitCode: 1,
  },
  {
    name: '--tmpfs',
    options: { mounts: [{ type: 'tmpfs', target: '/t', size: 8 * mebi, mode: 0o700, exec: true }] },
    spec: [
      mountAt('/t'),
      {
        destination: '/t',
        type: 'tmpfs',
        source: 'tmpfs',
        options: ['nosuid', 'nodev', 'mode=700', `size=${8 * mebi}`],
      },
    ],
    script: 'ls -ld /t | cut -c1-10; cp /bin/busybox /t/echo; /t/echo run',
    prints: 'drwx------\nrun\n',
  },
  {
    name: 'Volumes begin with what the image has there',
    image: { Volumes: { '/etc': {}, '/data/../srv': {} } },
    spec: [({ mounts }) => mounts.slice(-2).map((m) => m.destination), ['/etc', '/srv']],
    script: 'grep -c redis /etc/passwd; grep -c " /srv " /proc/self/mounts',
    prints: '1\n1\n',
  },
  {
    name: 'a mount of the caller at the place of a volume of the image',
    image: { Volumes: { '/etc': {} } },
    options: { mounts: [{ type: 'tmpfs', target: '/etc' }] },
    spec: [(spec) => mountAt('/etc')(spec)?.type, 'tmpfs'],
    script: 'ls /etc/passwd 2>/dev/null',
    exitCode: 1,
  },
  // Namespaces and network files.
  {
    name: 'namespaces of its own; the host network is asked for',
    spec: [
      ({ linux }) => linux.namespaces.map(({ type }) => type).filter((type) => type !== 'cgroup'),
      ['pid', 'ipc', 'uts', 'mount'],
    ],
    script: 'echo $$; cat /etc/hostname | grep -c .',
    prints: '1\n1\n',
  },
  {
    name: '--net none',
    options: { network: 'none' },
    spec: [({ linux }) => linux.namespaces.some(({ type }) => type === 'network'), true],
    script: 'ls /sys/class/net; cat /etc/hosts | grep -c 127.0.1.1; cat /sys/class/net/lo/flags',
    prints: 'lo\n1\n0x9\n',
  },
  {
    name: '--hostname and --add-host',
    options: { network: 'none', hostname: 'box', hosts: ['db:10.1.2.3'] },
    spec: [({ hostname }) => hostname, 'box'],
    script: 'cat /etc/hostname /proc/sys/kernel/hostname; grep 10.1.2.3 /etc/hosts',
    prints: 'box\nbox\n10.1.2.3\tdb\n',
  },
  {
    name: '--sysctl, and low ports for everybody in a network of its own',
    options: { network: 'none', sysctls: { 'net.core.somaxconn': '77' } },
    spec: [
      ({ linux }) => linux.sysctl,
      {
        'net.ipv4.ip_unprivileged_port_start': '0',
        'net.ipv4.ping_group_range': '0 2147483647',
        'net.core.somaxconn': '77',
      },
    ],
    script: 'cat /proc/sys/net/core/somaxconn /proc/sys/net/ipv4/ip_unprivileged_port_start',
    prints: '77\n0\n',
  },
  {
    name: '--dns',
    options: { dns: ['192.0.2.1'] },
    script: 'grep nameserver /etc/resolv.conf',
    prints: 'nameserver 192.0.2.1\n',
  },
  {
    name: 'a terminal: TERM, and standard streams that are one',
    options: { terminal: true },
    spec: [({ process }) => process.terminal, true],
    script: 'test -t 0 && test -t 1 && echo $TERM',
    prints: 'xterm\r\n',
  },
  {
    name: '--userns',
    options: {
      network: 'none',
      userMapping: { containerID: 0, hostID: 200_000, size: 65_536 },
    },
    spec: [({ linux }) => linux.uidMappings, [{ containerID: 0, hostID: 200_000, size: 65_536 }]],
    script: 'id -u; cat /proc/self/uid_map; ls -ln /etc/passwd | grep -c " 0 .* 0 "; touch /etc/x',
    prints: /^0\n +0 +200000 +65536\n1\n$/,
  },
];

function bind(destination: string, source: string, mode: string) {
  return { destination, type: 'bind', source, options: ['rbind', 'rprivate', mode] };
}

describe('what docker run would have put, and runc runs it', { concurrency: 4 }, () => {
  const images = cases().map(({ image }) => image ?? {});
  let node: TestNode;
  before(async () => {
    shared = await mkdtemp(path.join(tmpdir(), 'dray-shared-'));
    await writeFile(path.join(shared, 'file'), 'of the node\n');
    // Its name says which image a case wants.
    node = await temporaryNode((name) => tinyImage(images[Number(name)]));
  });
  after(async () => {
    await node[Symbol.asyncDispose]();
    await rm(shared, { recursive: true });
  });

  test('at least forty cases', () => {
    assert(cases().length >= 40, String(cases().length));
  });

  for (const [index, { name }] of cases().entries()) {
    test(name, async (t) => {
      if (!requireContainers(t)) return;
      const found = cases()[index];
      assert(found !== undefined);
      const { options = {}, spec, script, prints, exitCode = 0 } = found;
      const id = `case-${index}`;
      const args = script === undefined ? {} : { args: ['/bin/sh', '-c', script] };
      await node.containers.create({ id, image: String(index), options: { ...args, ...options } });
      const output = outputOf(node.containers, id);
      await node.containers.start(id);
      const { stdout, stderr } = await output;
      const exit = await node.containers.wait(id);
      assert.equal(exit.exitCode, exitCode, `${stdout}${stderr}${exit.error ?? ''}`);
      if (typeof prints === 'string') assert.equal(stdout.toString(), prints);
      else if (prints !== undefined) assert.match(stdout.toString(), prints);
      if (spec !== undefined) {
        const [pick, wanted] = spec;
        assert.deepEqual(pick(await specOf(node, id)), wanted);
      }
      await node.containers.remove(id);
    });
  }

  test('what this node can not do is said', async (t) => {
    if (!requireContainers(t)) return;
    const refused: [RunOptions, RegExp][] = [
      [{ resources: { memory: 1024 } }, /can't live in 1024 bytes/],
      [{ resources: { memory: 64 * mebi, memorySwap: mebi } }, /below that of memory/],
      [{ resources: { memorySwap: 64 * mebi } }, /needs a limit of memory/],
      [{ resources: { cpuset: String(cpus().length + 7) } }, /has no processor/],
      [{ capAdd: ['NO_SUCH'] }, /"NO_SUCH" is not a capability/],
      [{ ulimits: [{ name: 'nope', soft: 1, hard: 1 }] }, /There is no limit "nope"/],
      [
        { devices: [{ source: '/dev/nope', target: '/dev/x', access: 'r' }] },
        /is not on this node/,
      ],
      [{ devices: [{ source: '/etc/passwd', target: '/dev/x', access: 'r' }] }, /is no device/],
      [{ sysctls: { 'kernel.panic': '1' } }, /is the node's/],
      [{ sysctls: { 'net.core.somaxconn': '1' } }, /is the node's/],
      [{ security: { seccomp: '{}' } }, /is no seccomp profile/],
      [{ security: { apparmor: 'no-such' } }, /AppArmor/],
      [{ network: 'host', ports: [{ hostPort: 1, containerPort: 1, protocol: 'tcp' }] }, /Ports/],
      [
        { network: 'host', userMapping: { containerID: 0, hostID: 1, size: 9 } },
        /can't be in the node's network/,
      ],
      [{ hosts: ['nonsense'] }, /not a name with an address/],
      [{ mounts: [{ type: 'volume', source: '../up', target: '/x' }] }, /name of a volume/],
      [{ mounts: [{ type: 'volume', target: '/etc/passwd' }] }, /no folder at \/etc\/passwd/],
    ];
    for (const [options, message] of refused) {
      await assert.rejects(
        node.containers.create({
          id: 'no',
          image: imageName,
          options: { args: ['true'], ...options },
        }),
        { code: 'CONFIG_INVALID', message },
      );
    }
    assert(node.containers.list().every(({ id }) => id !== 'no'));
    await assert.rejects(
      node.containers.create({
        id: 'no',
        image: imageName,
        options: { args: ['true'], runtime: 'no-such-runtime' },
      }),
      { code: 'TOOL_MISSING' },
    );
  });
});

async function specOf({ root }: TestNode, id: string): Promise<Spec> {
  const instances = await readdir(path.join(root, 'containers'));
  const instance = instances.find((name) => name.startsWith(`${id}-`)) ?? '';
  return decodeSpec(await readFile(path.join(root, 'containers', instance, 'config.json'), 'utf8'));
}
