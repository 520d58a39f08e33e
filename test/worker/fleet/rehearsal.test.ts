import assert from 'node:assert/strict';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
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

  test('one that is stopped leaves nothing either', async () => {
    for (const delay of [0, 5, 20, 60]) {
      await rehearse({ signal: AbortSignal.timeout(delay) }).catch(() => {});
      assert.deepEqual(await readdir(folder), []);
    }
  });
});
