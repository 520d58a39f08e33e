import assert from 'node:assert/strict';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import { Runc } from '../../../../worker/agent/runtime/runc.ts';

// Whether the kernel has frozen all in time is up to how busy the machine is: nobody can have that at will.
test('a runtime that could not freeze a container in time is asked again; another failure is told', async (t) => {
  const folder = await mkdtemp(path.join(tmpdir(), 'dray-runc-'));
  t.after(() => rm(folder, { recursive: true }));
  const program = path.join(folder, 'runc');
  const runc = new Runc({ path: program, root: folder });
  const failing = async (times: number, message: string) => {
    const log = `time="2026-01-02T03:04:05Z" level=error msg="${message}"`;
    const script = `echo "$@" >>${folder}/calls; test $(wc -l <${folder}/calls) -gt ${times} || { echo '${log}' >&2; exit 1; }`;
    await writeFile(program, `#!/bin/sh\n${script}\n`, { mode: 0o755 });
    await rm(path.join(folder, 'calls'), { force: true });
  };
  const calls = async () => (await readFile(path.join(folder, 'calls'), 'utf8')).trim().split('\n');

  await failing(2, 'unable to freeze');
  await runc.pause('busy');
  assert.deepEqual(
    await calls(),
    Array.from({ length: 3 }, () => `--root ${folder} pause busy`),
  );
  await failing(1, 'container not running');
  await assert.rejects(runc.pause('ended'), {
    code: 'RUNTIME_FAILED',
    message: /ended could not be paused: container not running/,
  });
});
