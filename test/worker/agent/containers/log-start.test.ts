import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { describe, test } from 'node:test';
import { openLog, type ReadLogOptions } from '../../../../worker/agent/containers/log.ts';

async function read(text: string, options: ReadLogOptions): Promise<string> {
  const folder = await mkdtemp(path.join(tmpdir(), 'dray-log-'));
  try {
    const file = path.join(folder, 'log');
    await writeFile(file, text);
    let seen = '';
    for await (const { bytes } of (await openLog(file, options)).output) seen += String(bytes);
    return seen;
  } finally {
    await rm(folder, { recursive: true });
  }
}

const time = (n: number) => new Date(Date.UTC(2026, 0, 1) + n * 1000);
const record = (n: number, text: string, tag = 'F') =>
  `${time(n).toISOString().slice(0, 19)}.123456789+00:00 stdout ${tag} ${text}\n`;

describe('where a log is read from', () => {
  const lines = Array.from({ length: 5000 }, (_, n) => `line ${n} ${'x'.repeat(n % 97)}`);
  const log = lines.map((text, n) => record(n, text)).join('');
  const behind = (n: number) =>
    lines
      .slice(n)
      .map((text) => `${text}\n`)
      .join('');

  test('--tail: the last lines, whatever the number', async () => {
    for (const tail of [0, 1, 2, 10, 4999, 5000, 6000]) {
      assert.equal(await read(log, { tail }), behind(Math.max(0, 5000 - tail)), `${tail}`);
    }
    assert.equal(await read('', { tail: 5 }), '');
  });

  test('--tail: a line that came in pieces is one, also one that is not ended', async () => {
    const pieces = `${record(0, 'a')}${record(1, 'b', 'P')}${record(1, 'c')}${record(2, 'd', 'P')}`;
    assert.equal(await read(pieces, { tail: 1 }), 'd');
    assert.equal(await read(pieces, { tail: 2 }), 'bc\nd');
    assert.equal(await read(pieces, { tail: 3 }), 'a\nbc\nd');
  });

  test('--since: what is not older, to the record', async () => {
    for (const n of [0, 1, 77, 2500, 4999]) {
      assert.equal(await read(log, { since: time(n) }), behind(n), `${n}`);
    }
    assert.equal(await read(log, { since: time(9999) }), '');
    assert.equal(await read(log, { since: time(-5) }), behind(0));
    assert.equal(await read(log, { since: time(4000), tail: 10 }), behind(4990));
    assert.equal(await read(log, { since: time(4995), tail: 10 }), behind(4995));
  });

  test('--timestamps: once a line, in UTC, with all digits', async () => {
    const local = '2026-01-01T01:00:00.123456789+01:00';
    const text = `${local} stdout P a\n${local} stderr F e\n${local} stdout F b\n`;
    const utc = '2026-01-01T00:00:00.123456789Z';
    assert.equal(await read(text, { timestamps: true }), `${utc} a${utc} e\nb\n`);
  });

  test('a reader that was told where it began gets the same once more', async () => {
    const folder = await mkdtemp(path.join(tmpdir(), 'dray-log-'));
    const file = path.join(folder, 'log');
    await writeFile(file, log);
    const { from, output } = await openLog(file, { tail: 3 });
    await output.return(undefined);
    await writeFile(file, log + record(5001, 'more'));
    let seen = '';
    for await (const { bytes } of (await openLog(file, { from })).output) seen += String(bytes);
    assert.equal(seen, `${behind(4997)}more\n`);
    await rm(folder, { recursive: true });
  });
});
