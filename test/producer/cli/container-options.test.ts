import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { parseEnv, parseMount } from '../../../producer/cli/container-options.ts';
import { containerColumns } from '../../../producer/cli/container-table.ts';
import { formatList } from '../../../producer/cli/output.ts';

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

  test('--mount', () => {
    const table: [string, object][] = [
      ['type=bind,source=/a,target=/b', { type: 'bind', source: '/a', target: '/b' }],
      ['src=/a,dst=/b,ro', { type: 'bind', source: '/a', target: '/b', readonly: true }],
      ['src=/a,dst=/b,readonly=false', { type: 'bind', source: '/a', target: '/b' }],
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
    ];
    for (const text of refused) assert.throws(() => parseMount(text), { code: 'USAGE' }, text);
  });

  test('a command of an image can not paint on the terminal', () => {
    const table = formatList(
      [
        {
          id: 'a',
          state: 'exited',
          image: 'localhost/x:1',
          manifest: 'sha256:0',
          args: ['evil\u001b[2J'],
          stopSignal: 'SIGTERM',
          autoRemove: false,
          createdAt: '2026-01-01T00:00:00Z',
          finishedAt: '2026-01-01T00:01:00Z',
          exitCode: 3,
        },
      ],
      { output: 'table' },
      containerColumns('table', new Date('2026-01-01T02:00:00Z'), undefined),
      undefined,
    );
    assert.match(table, /a +localhost\/x:1 +evil\?\[2J +exited \(3\) 1 h ago +2 h ago/);
  });
});
