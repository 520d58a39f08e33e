import assert from 'node:assert/strict';
import { closeSync, readdirSync } from 'node:fs';
import { text } from 'node:stream/consumers';
import { describe, test } from 'node:test';
import { makePipe } from '../../../../worker/agent/linux/pipe.ts';
import { readEnd, startProgram, writeEnd } from '../../../../worker/agent/linux/start-program.ts';

const silent = ['null', 'null', 'null'] as const;

describe('startProgram', () => {
  test('its streams are those it was given, and its end is told with its exit code', async () => {
    const [input, output] = [makePipe(), makePipe()];
    const program = startProgram('sh', ['-c', 'cat; exit 7'], {
      files: [input.read, output.write, 'null'],
    });
    for (const fd of [input.read, output.write]) closeSync(fd);
    writeEnd(input.write).end('handed on');
    assert.equal(await text(readEnd(output.read)), 'handed on');
    assert.equal(await program.ended, 7);
  });

  test('more of them than the pool has threads run at once; a signal ends one', async () => {
    const programs = Array.from({ length: 12 }, () =>
      startProgram('sleep', ['600'], { files: silent }),
    );
    programs.at(-1)?.kill('SIGTERM');
    assert.equal(await programs.at(-1)?.ended, 128 + 15);
    for (const program of programs) program.kill('SIGKILL');
    const codes = await Promise.all(programs.slice(0, -1).map(({ ended }) => ended));
    assert.deepEqual(new Set(codes), new Set([128 + 9]));
    // Its pid may be another's by now.
    programs[0]?.kill('SIGKILL');
  });

  test('one that is not there leaves nothing open', () => {
    const before = readdirSync('/proc/self/fd').length;
    assert.throws(() => startProgram('/no/such/program', [], { files: silent }), {
      code: 'ENOENT',
    });
    assert.equal(readdirSync('/proc/self/fd').length, before);
  });
});
