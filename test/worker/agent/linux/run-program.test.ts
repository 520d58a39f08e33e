import assert from 'node:assert/strict';
import { closeSync, openSync, readdirSync } from 'node:fs';
import { describe, test } from 'node:test';
import { runProgram } from '../../../../worker/agent/linux/run-program.ts';

const bound = { timeout: 20_000 };
const shell = (line: string) => ['-c', line];

describe('runProgram', () => {
  test('tells exit code, both outputs and the signal that ended it', async () => {
    const ended = await runProgram('sh', shell('echo out; echo err >&2; exit 7'), bound);
    assert.deepEqual(ended, { exitCode: 7, stdout: 'out\n', stderr: 'err\n', isTimedOut: false });
    assert.equal((await runProgram('sh', shell('kill -TERM $$'), bound)).exitCode, 128 + 15);
  });

  test('hands its input on, also to a program that does not read it', async () => {
    const input = 'x'.repeat(300_000);
    assert.equal((await runProgram('wc', ['-c'], { ...bound, input })).stdout, '300000\n');
    assert.equal((await runProgram('true', [], { ...bound, input })).exitCode, 0);
  });

  test('a program has nothing of the agent: no variable, no open file, no ignored signal', async () => {
    process.env.DRAY_TEST_SECRET = 'hidden';
    const open = openSync('/dev/null', 'r');
    const { stdout } = await runProgram(
      'sh',
      shell('env; ls /proc/self/fd; grep -E "^Sig(Blk|Ign)" /proc/self/status; pwd'),
      { ...bound, cwd: '/usr' },
    );
    closeSync(open);
    assert.doesNotMatch(stdout, /hidden/);
    assert.ok(!stdout.split('\n').includes(String(open)), stdout);
    // The C library keeps 32 and 33 for itself.
    assert.match(stdout, /SigBlk:\s0{16}\nSigIgn:\s0{7}[01][08]0{7}\n\/usr\n$/);
  });

  test('one that takes too long is killed, with what holds its outputs left alone', async () => {
    const begun = performance.now();
    const late = await runProgram('sh', shell('echo early; sleep 7 & sleep 7'), { timeout: 300 });
    assert.ok(performance.now() - begun < 5000);
    assert.deepEqual([late.exitCode, late.isTimedOut, late.stdout], [128 + 9, true, 'early\n']);
    const signal = AbortSignal.timeout(200);
    await assert.rejects(runProgram('sleep', ['7'], { ...bound, signal }), {
      name: 'TimeoutError',
    });
  });

  test('keeps no descriptor, whatever comes of it, and no more output than it may', async () => {
    const before = readdirSync('/proc/self/fd').length;
    await assert.rejects(runProgram('/no/such/program', [], bound), { code: 'ENOENT' });
    for (let i = 0; i < 20; i++) await runProgram('true', [], { ...bound, input: 'x' });
    const { stdout } = await runProgram('seq', ['100000'], { ...bound, maxBytes: 1000 });
    assert.equal(stdout.length, 1000);
    assert.ok(readdirSync('/proc/self/fd').length <= before + 2);
  });
});
