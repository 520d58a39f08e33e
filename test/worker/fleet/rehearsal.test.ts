import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, readdir, rm, rmdir } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { registryRequests } from '../../../worker/fleet/metrics.ts';
import { rehearse } from '../../../worker/fleet/rehearsal.ts';

describe("a worker's rehearsal", () => {
  const { TMPDIR } = process.env;
  let folder: string;

  before(async () => {
    folder = await mkdtemp(path.join(tmpdir(), 'dray-test-'));
    process.env.TMPDIR = folder;
  });
  after(async () => {
    if (TMPDIR === undefined) delete process.env.TMPDIR;
    else process.env.TMPDIR = TMPDIR;
    await rm(folder, { recursive: true, force: true });
  });

  test('comes to its end, leaves nothing, and is counted as nothing that a registry was asked', async () => {
    const counted = (await registryRequests.get()).values;
    await rehearse({ signal: new AbortController().signal });
    assert.deepEqual(await readdir(folder), []);
    assert.deepEqual((await registryRequests.get()).values, counted);
  });

  test('what a worker that was killed in its own has left goes with the next one; that of a living one stays', async () => {
    const url = new URL('../../../worker/fleet/rehearsal.ts', import.meta.url);
    const dies = `
      import { readdirSync } from 'node:fs';
      import { rehearse } from '${url}';
      const look = () => {
        if (readdirSync(process.env.TMPDIR).some((name) => name.includes('-' + process.pid + '-')))
          process.kill(process.pid, 'SIGKILL');
        setImmediate(look);
      };
      look();
      await rehearse({ signal: new AbortController().signal });`;
    const args = ['--input-type=module', '--eval', dies];
    const child = spawn(process.execPath, args, { stdio: 'inherit' });
    assert.deepEqual(await once(child, 'exit'), [null, 'SIGKILL']);
    assert.equal((await readdir(folder)).length, 1);
    const living = `dray-rehearsal-${process.ppid}-x`;
    await mkdir(path.join(folder, living));
    await rehearse({ signal: new AbortController().signal });
    assert.deepEqual(await readdir(folder), [living]);
    await rmdir(path.join(folder, living));
  });

  test('one that is stopped leaves nothing either', async () => {
    for (const delay of [0, 5, 20, 60]) {
      await rehearse({ signal: AbortSignal.timeout(delay) }).catch(() => {});
      assert.deepEqual(await readdir(folder), []);
    }
  });
});
