import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { describe, test } from 'node:test';
import { Command } from 'commander';
import { containerColumns } from '../../../../producer/cli/container-table.ts';
import { formatList } from '../../../../producer/cli/output.ts';
import { parseEnv, readEnvFile } from '../../../../producer/cli/run/environment.ts';
import { addRunFlags } from '../../../../producer/cli/run/flags.ts';
import { parseRestart, parseUlimit } from '../../../../producer/cli/run/limits.ts';
import { parseMount, parseTmpfs, parseVolume } from '../../../../producer/cli/run/mounts.ts';
import { runOptionsOf } from '../../../../producer/cli/run/options.ts';
import { parsePublish } from '../../../../producer/cli/run/ports.ts';
import { parseBytes, parseTime } from '../../../../producer/cli/run/quantities.ts';
import { parseDevice, parseSecurity, parseUserns } from '../../../../producer/cli/run/security.ts';
import type { ContainerStatus } from '../../../../shared/agent/containers.ts';
import type { PortMapping } from '../../../../shared/agent/run-options.ts';

const ended: ContainerStatus = {
  id: 'a',
  state: 'exited',
  image: 'localhost/x:1',
  manifest: 'sha256:0',
  args: ['evil\u001b[2J'],
  stopSignal: 'SIGTERM',
  autoRemove: false,
  labels: {},
  terminal: false,
  stdin: false,
  restart: { name: 'no' },
  restarts: 0,
  oomKilled: false,
  network: { mode: 'host', addresses: [], ports: [], exposedPorts: [] },
  mounts: [],
  createdAt: '2026-01-01T00:00:00Z',
  finishedAt: '2026-01-01T00:01:00Z',
  exitCode: 3,
};

describe('options of dray run', () => {
  test('--env', () => {
    const own = { HERE: 'value', EMPTY: '' };
    assert.deepEqual(parseEnv(['A=1', 'HERE', 'GONE', 'EMPTY', 'B='], own), [
      'A=1',
      'HERE=value',
      'EMPTY=',
      'B=',
    ]);
    for (const entry of ['', '=x']) {
      assert.throws(() => parseEnv([entry], {}), { code: 'USAGE' });
    }
  });

  test('--env-file', async () => {
    const folder = await mkdtemp(path.join(tmpdir(), 'dray-env-'));
    const file = path.join(folder, 'env');
    await writeFile(file, '\uFEFFA=1\r\n# no\n\n  B=x # y\nHERE\nGONE\nC="quoted"\n');
    assert.deepEqual(await readEnvFile(file, { HERE: 'value' }), [
      'A=1',
      'B=x # y',
      'HERE=value',
      'C="quoted"',
    ]);
    await writeFile(file, 'A=1\nnot a name=2\n');
    await assert.rejects(readEnvFile(file, {}), { code: 'USAGE', message: /^Line 2 of / });
    await rm(folder, { recursive: true });
    await assert.rejects(readEnvFile(file, {}), { code: 'USAGE' });
  });

  test('--mount', () => {
    const table: [string, object][] = [
      ['type=bind,source=/a,target=/b', { type: 'bind', source: '/a', target: '/b' }],
      ['src=/a,dst=/b,ro', { type: 'bind', source: '/a', target: '/b', readonly: true }],
      ['src=/a,dst=/b,readonly=false', { type: 'bind', source: '/a', target: '/b' }],
      ['source=data,target=/b', { type: 'volume', source: 'data', target: '/b' }],
      ['type=volume,target=/b', { type: 'volume', target: '/b' }],
      ['type=tmpfs,target=/t', { type: 'tmpfs', target: '/t' }],
      [
        'type=tmpfs,destination=/t,tmpfs-size=64m,tmpfs-mode=0700',
        { type: 'tmpfs', target: '/t', size: 64 * 1024 * 1024, mode: 0o700 },
      ],
    ];
    for (const [text, wanted] of table) assert.deepEqual(parseMount(text), wanted, text);
    const refused = [
      '',
      'type=volume,source=/a,target=/b',
      'type=bind,target=/b',
      'type=bind,source=a,target=/b',
      'type=bind,source=/a',
      'type=tmpfs,source=/a,target=/b',
      'type=tmpfs,target=/b,tmpfs-size=big',
      'type=tmpfs,target=/b,tmpfs-mode=9',
      'type=bind,source=/a,target=/b,target=/c',
      'type=bind,source=/a,target=/b,color=red',
      'type=npipe,source=/a,target=/b',
    ];
    for (const text of refused) assert.throws(() => parseMount(text), { code: 'USAGE' }, text);
  });

  test('--volume and --tmpfs', () => {
    const volumes: [string, object][] = [
      ['/data', { type: 'volume', target: '/data' }],
      ['name:/data', { type: 'volume', source: 'name', target: '/data' }],
      ['/a:/b:ro', { type: 'bind', source: '/a', target: '/b', readonly: true }],
      ['name:/data:Z,ro', { type: 'volume', source: 'name', target: '/data', readonly: true }],
      ['./a:/b:rw', { type: 'bind', source: path.resolve('a'), target: '/b' }],
    ];
    for (const [text, wanted] of volumes) assert.deepEqual(parseVolume(text), wanted, text);
    for (const text of ['', 'a', 'a/b:/c', '/a:b', '/a:/b:zz', ':/b', '/a:/b:ro:rw']) {
      assert.throws(() => parseVolume(text), { code: 'USAGE' }, text);
    }
    const tmpfs: [string, object][] = [
      ['/t', { type: 'tmpfs', target: '/t' }],
      [
        '/t:rw,size=1k,mode=700,nosuid,exec',
        { type: 'tmpfs', target: '/t', size: 1024, mode: 0o700, exec: true },
      ],
      ['/t:ro', { type: 'tmpfs', target: '/t', readonly: true }],
      ['/t:uid=1000,gid=0', { type: 'tmpfs', target: '/t', uid: 1000, gid: 0 }],
    ];
    for (const [text, wanted] of tmpfs) assert.deepEqual(parseTmpfs(text), wanted, text);
    for (const text of ['t', '/t:size=x', '/t:mode=8', '/t:huge', '/t:uid=alice', '/t:gid=-1']) {
      assert.throws(() => parseTmpfs(text), { code: 'USAGE' }, text);
    }
  });

  test('--publish', () => {
    const port = (hostPort: number, containerPort: number, more: object = {}) => ({
      hostPort,
      containerPort,
      protocol: 'tcp',
      ...more,
    });
    const table: [string, object[]][] = [
      ['80', [{ containerPort: 80, protocol: 'tcp' }]],
      ['127.0.0.1::53/udp', [{ hostIP: '127.0.0.1', containerPort: 53, protocol: 'udp' }]],
      ['8080:80', [port(8080, 80)]],
      ['53:53/udp', [port(53, 53, { protocol: 'udp' })]],
      ['127.0.0.1:8080:80', [port(8080, 80, { hostIP: '127.0.0.1' })]],
      ['[::1]:8080:80', [port(8080, 80, { hostIP: '::1' })]],
      ['8000-8001:80-81', [port(8000, 80), port(8001, 81)]],
    ];
    for (const [text, wanted] of table) assert.deepEqual(parsePublish(text), wanted, text);
    for (const text of ['', '0:80', '80:65536', 'a:80', '8000-8002:80', '1.2.3:80:80', '80/icmp']) {
      assert.throws(() => parsePublish(text), { code: 'USAGE' }, text);
    }
  });

  test('quantities', () => {
    const bytes: [string, number][] = [
      ['0', 0],
      ['512', 512],
      ['64m', 64 * 2 ** 20],
      ['1.5g', 1.5 * 2 ** 30],
      ['64MB', 64 * 2 ** 20],
      ['2GiB', 2 ** 31],
    ];
    for (const [text, wanted] of bytes) assert.equal(parseBytes('-m', text), wanted, text);
    const times: [string, number][] = [
      ['30s', 30_000],
      ['1m30s', 90_000],
      ['500ms', 500],
      ['1.5h', 5_400_000],
    ];
    for (const [text, wanted] of times) assert.equal(parseTime('-t', text), wanted, text);
    for (const text of ['', '-1', '1x', 'm', '1e3', `${2 ** 60}`]) {
      assert.throws(() => parseBytes('-m', text), { code: 'USAGE' }, text);
    }
    for (const text of ['', '30', '1s1', 's', '9999h']) {
      assert.throws(() => parseTime('-t', text), { code: 'USAGE' }, text);
    }
  });

  test('--restart, --ulimit, --device, --userns, --security-opt', async () => {
    const tables: [(text: string) => unknown, [string, unknown][], string[]][] = [
      [
        parseRestart,
        [
          ['no', { name: 'no' }],
          ['always', { name: 'always' }],
          ['unless-stopped', { name: 'always' }],
          ['on-failure', { name: 'on-failure' }],
          ['on-failure:3', { name: 'on-failure', maxRetries: 3 }],
        ],
        ['', 'always:3', 'on-failure:', 'on-failure:-1', 'never'],
      ],
      [
        parseUlimit,
        [
          ['nofile=1024', { name: 'nofile', soft: 1024, hard: 1024 }],
          ['core=0:unlimited', { name: 'core', soft: 0, hard: -1 }],
        ],
        ['nofile', 'nofile=', 'nofile=1:2:3', '=1', 'nofile=-2'],
      ],
      [
        parseDevice,
        [
          ['/dev/fuse', { source: '/dev/fuse', target: '/dev/fuse', access: 'rwm' }],
          ['/dev/fuse:r', { source: '/dev/fuse', target: '/dev/fuse', access: 'r' }],
          ['/dev/a:/dev/b:rw', { source: '/dev/a', target: '/dev/b', access: 'rw' }],
        ],
        ['', 'dev', '/dev/a:/dev/b:/dev/c', '/dev/a:/dev/b:x'],
      ],
      [
        parseUserns,
        [
          ['host', undefined],
          ['100000:65536', { containerID: 0, hostID: 100_000, size: 65_536 }],
        ],
        ['', '0:65536', '100000', '4294967295:1', 'auto'],
      ],
    ];
    for (const [parse, accepted, refused] of tables) {
      for (const [text, wanted] of accepted) assert.deepEqual(parse(text), wanted, text);
      for (const text of refused) assert.throws(() => parse(text), { code: 'USAGE' }, text);
    }
    assert.deepEqual(
      await parseSecurity(['seccomp=unconfined', 'apparmor:mine', 'no-new-privileges=false']),
      { seccomp: 'unconfined', apparmor: 'mine', noNewPrivileges: false },
    );
    for (const entry of ['', 'seccomp', 'seccomp=/no/such/file', 'label=disable']) {
      await assert.rejects(parseSecurity([entry]), { code: 'USAGE' }, entry);
    }
  });

  test('all options of a container together', async () => {
    const command = addRunFlags(new Command());
    command.parse(
      [
        ...['--entrypoint', '/bin/x', '-it', '-l', 'a=1', '-l', 'b', '--stop-timeout', '3'],
        ...['-v', 'data:/data', '--tmpfs', '/t', '--read-only', '--network', 'bridge'],
        ...['-p', '80:80', '--cpus', '0.5', '-m', '64m', '--pids-limit', '0', '--cap-add', 'ALL'],
        ...['--health-cmd', 'true', '--health-interval', '5s', '--oom-score-adj', '-5'],
      ],
      { from: 'user' },
    );
    assert.deepEqual(await runOptionsOf(command.opts(), ['c'], {}), {
      entrypoint: ['/bin/x'],
      args: ['c'],
      labels: { a: '1', b: '' },
      terminal: true,
      stdin: true,
      stopTimeout: 3,
      mounts: [
        { type: 'volume', source: 'data', target: '/data' },
        { type: 'tmpfs', target: '/t' },
      ],
      readOnly: true,
      network: 'bridge',
      ports: [{ hostPort: 80, containerPort: 80, protocol: 'tcp' }],
      resources: { cpus: 0.5, memory: 64 * 2 ** 20, pids: -1 },
      capAdd: ['ALL'],
      oomScoreAdj: -5,
      healthcheck: { test: ['CMD-SHELL', 'true'], interval: 5_000 },
    });
    const plain = addRunFlags(new Command()).parse([], { from: 'user' });
    assert.deepEqual(await runOptionsOf(plain.opts(), [], {}), {});
    const relative = addRunFlags(new Command()).parse(['-w', 'here'], { from: 'user' });
    await assert.rejects(runOptionsOf(relative.opts(), [], {}), { code: 'USAGE' });
    const none = addRunFlags(new Command()).parse(['--no-healthcheck'], { from: 'user' });
    const { healthcheck } = await runOptionsOf(none.opts(), [], {});
    assert.deepEqual(healthcheck, { test: ['NONE'] });
  });

  test('dray ps: health, and ports with those in a row as one', () => {
    const ports = [8000, 8001, 8002, 53].map((port): PortMapping => {
      const protocol = port === 53 ? 'udp' : 'tcp';
      return { hostIP: '::1', hostPort: port, containerPort: port - 1, protocol };
    });
    const row = containerColumns('table', new Date('2026-01-01T02:00:00Z')).row({
      ...ended,
      state: 'running',
      startedAt: '2026-01-01T00:00:00Z',
      health: { state: 'healthy', failures: 0 },
      network: { ...ended.network, ports },
    });
    assert.equal(row[3], 'running 2 h (health: healthy)');
    assert.equal(row[5], '[::1]:8000-8002->7999-8001/tcp, [::1]:53->52/udp');
  });

  test('a command of an image can not paint on the terminal', () => {
    const table = formatList(
      [ended],
      { output: 'table' },
      containerColumns('table', new Date('2026-01-01T02:00:00Z')),
      undefined,
    );
    assert.match(table, /a +localhost\/x:1 +evil\?\[2J +exited \(3\) 1 h ago +2 h ago/);
  });
});
