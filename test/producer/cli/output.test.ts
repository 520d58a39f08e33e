import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { parse } from 'yaml';
import {
  fitTable,
  formatAge,
  formatBytes,
  formatBytesOf,
  formatDuration,
  formatList,
  formatTable,
  type OutputForm,
  printable,
  wrapText,
} from '../../../producer/cli/output.ts';

describe('output', () => {
  test('sizes', () => {
    assert.equal(formatBytes(0), '0 B');
    assert.equal(formatBytes(1023), '1023 B');
    assert.equal(formatBytes(1024), '1.0 KiB');
    assert.equal(formatBytes(58 * 1024 ** 2), '58.0 MiB');
    assert.equal(formatBytes(1024 ** 2 - 1), '1.0 MiB');
    assert.equal(formatBytes(5 * 1024 ** 5), '5.0 PiB');
    assert.equal(formatBytesOf(512 * 1024, 58 * 1024 ** 2), '0.5/58.0 MiB');
    assert.equal(formatBytesOf(0, 0), '0/0 B');
  });

  test('times', () => {
    assert.equal(formatDuration(2_140), '2.1s');
    assert.equal(formatDuration(59_990), '1m00s');
    assert.equal(formatDuration(187_000), '3m07s');
    assert.equal(formatDuration(7_500_000), '2h05m');
    const now = new Date('2026-01-02T00:00:00Z');
    assert.equal(formatAge(new Date('2026-01-01T23:59:57Z'), now), '3 s ago');
    assert.equal(formatAge(new Date('2026-01-01T20:30:00Z'), now), '3 h ago');
    assert.equal(formatAge(new Date('2026-01-03T00:00:00Z'), now), '0 s ago');
  });

  test('tables are aligned, and their last column has no blanks behind it', () => {
    assert.equal(
      formatTable(
        ['REF', 'SIZE'],
        [
          ['a', '1 B'],
          ['longer', '12 B'],
        ],
      ),
      'REF      SIZE\na        1 B\nlonger   12 B\n',
    );
  });

  test('a table that is too wide for the terminal has short digests and media types', () => {
    const digest = `sha256:${'0123456789abcdef'.repeat(4)}`;
    const rows = [[`a/b@${digest}`, 'application/vnd.oci.image.index.v1+json', digest]];
    const headings = ['REF', 'TYPE', 'DIGEST'];
    const whole = formatTable(headings, rows);
    assert.equal(fitTable(headings, rows, undefined), whole);
    assert.equal(fitTable(headings, rows, 300), whole);
    assert.match(
      fitTable(headings, rows, 120),
      /^a\/b@sha256:0123456789ab {2}oci\.image\.index {2}sha256:0123456789ab$/m,
    );
  });

  test('where short digests are not enough, one column is cut to what is left', () => {
    const headings = ['ID', 'COMMAND', 'STATUS'];
    const rows = [
      ['a', 'redis-server --port 6379', 'running 3 s'],
      ['b', 'sh', 'exited (0) 2 s ago'],
    ];
    assert.equal(
      fitTable(headings, rows, 40, 'COMMAND'),
      [
        'ID  COMMAND           STATUS',
        'a   redis-server --…  running 3 s',
        'b   sh                exited (0) 2 s ago\n',
      ].join('\n'),
    );
    assert.match(fitTable(headings, rows, 10, 'COMMAND'), /^a {3}redis-serve… {2}running 3 s$/m);
    assert.match(fitTable(headings, rows, 50, 'COMMAND'), /redis-server --port 6379/);
  });

  test('text is parted at blanks where a line is full', () => {
    assert.deepEqual(wrapText('one two three four five', 13), ['one two three', 'four five']);
    assert.deepEqual(wrapText('a wordlongerthantheline b', 12), [
      'a',
      'wordlongerthantheline',
      'b',
    ]);
    assert.deepEqual(wrapText('one two three', Number.POSITIVE_INFINITY), ['one two three']);
    assert.deepEqual(wrapText('one two three', 3), ['one two three']);
  });

  test('a listing as a table, wide, JSON and YAML', () => {
    const at = new Date('2026-01-02T00:00:00Z');
    const items = [{ name: 'yes', digest: `sha256:${'a'.repeat(64)}`, size: 1, at }];
    const columns = {
      headings: ['NAME', 'DIGEST'],
      row: ({ name, digest }: (typeof items)[number]) => [name, digest],
      name: ({ name }: (typeof items)[number]) => name,
      wide: {
        headings: ['SIZE'],
        row: ({ size }: (typeof items)[number]) => [formatBytes(size)],
      },
    };
    const list = (output: OutputForm, width?: number) =>
      formatList(items, { output }, columns, width);
    assert.equal(list('table', 30), 'NAME  DIGEST\nyes   sha256:aaaaaaaaaaaa\n');
    assert.match(list('wide', 30), /^NAME +DIGEST +SIZE\nyes +sha256:a{64} +1 B\n$/);
    const plain: unknown = JSON.parse(JSON.stringify(items));
    assert.deepEqual(JSON.parse(list('json')), plain);
    assert.deepEqual(parse(list('yaml')), plain);
    // YAML 1.1, which many readers speak, has it as true where it is bare.
    assert.match(list('yaml'), /name: "yes"/);
    assert.equal(formatList(items, { output: 'json', quiet: true }, columns, 30), 'yes\n');
  });

  test('nothing from outside steers the terminal', () => {
    assert.equal(printable('a\x1b[31mb\r\nc\u202ed'), 'a?[31mb? c?d');
  });
});
