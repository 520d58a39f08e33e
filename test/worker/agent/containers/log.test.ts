import assert from 'node:assert/strict';
import { appendFile, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { describe, test } from 'node:test';
import { openLog } from '../../../../worker/agent/containers/log.ts';

const time = '2026-01-02T03:04:05.678901234+00:00';

async function temporaryLog(content: string) {
  const folder = await mkdtemp(path.join(tmpdir(), 'dray-log-'));
  const file = path.join(folder, 'log');
  await writeFile(file, content);
  return { file, [Symbol.asyncDispose]: () => rm(folder, { recursive: true }) };
}

describe('openLog', () => {
  test('whole and partial lines give the exact bytes, in order', async () => {
    await using log = await temporaryLog(
      `${time} stdout F a\n${time} stdout P b\n${time} stdout F \n${time} stderr P e P \n${time} stdout F stdout F x\n`,
    );
    const seen = [];
    for await (const { stream, bytes } of (await openLog(log.file)).output)
      seen.push([stream, String(bytes)]);
    assert.deepEqual(seen, [
      ['stdout', 'a\nb\n'],
      ['stderr', 'e P '],
      ['stdout', 'stdout F x\n'],
    ]);
  });

  test('a torn last line gives what there is of it; what is no record is left out', async () => {
    await using log = await temporaryLog(`garbage\n${time} stdout F a\n${time} stdout F b`);
    let seen = '';
    for await (const { bytes } of (await openLog(log.file)).output) seen += String(bytes);
    assert.equal(seen, 'a\nb');
  });

  test('a log that grows is followed up to the end', { timeout: 60_000 }, async () => {
    await using log = await temporaryLog('');
    let ended = false;
    const { output: following } = await openLog(log.file, { follow: true, hasEnded: () => ended });
    let written = 0;
    let seen = '';
    const grow = async () => {
      for (; written < 50; written++) await appendFile(log.file, `${time} stdout F ${written}\n`);
      await appendFile(log.file, `${time} std`);
      await appendFile(log.file, 'out P end\n');
      ended = true;
    };
    const growing = grow();
    for await (const { bytes } of following) seen += String(bytes);
    await growing;
    assert.equal(seen, `${Array.from({ length: 50 }, (_, i) => `${i}\n`).join('')}end`);
  });

  test('following ends with its signal', async () => {
    await using log = await temporaryLog('');
    const stop = new AbortController();
    const { output: following } = await openLog(log.file, {
      follow: true,
      hasEnded: () => false,
      signal: stop.signal,
    });
    const next = following.next();
    setTimeout(() => stop.abort(), 30);
    await assert.rejects(next, { name: 'AbortError' });
  });
});
