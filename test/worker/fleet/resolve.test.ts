import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { mediaTypes } from '../../../shared/image/descriptor.ts';
import { digestOf } from '../../../shared/image/digest.ts';
import type { PlannedBlob } from '../../../shared/pull/record.ts';
import { followUps } from '../../../worker/fleet/resolve.ts';
import { requireTool } from '../../support/requirements.ts';
import { openPullBench } from './pull-bench.ts';

describe('followUps', () => {
  test('blobs are asked for in the order of the plan', async (t) => {
    if (!requireTool(t, 'redis-server')) return;
    await using bench = await openPullBench();
    const id = await bench.create('localhost:1/a:b');
    // A set in Redis has an order of its own: with so many members it is never that of the plan.
    const blobs = Array.from({ length: 30 }, (_, i): PlannedBlob => {
      const digest = digestOf(`layer ${i}`);
      const descriptor = { mediaType: mediaTypes.ociManifest, digest, size: i };
      return { descriptor, kind: 'layer', existed: false };
    });
    await bench.records.plan(id, [], blobs);
    const jobs = await followUps(id, bench, {});
    assert.deepEqual(
      jobs.map((job) => job.queue === 'fetch-blob' && job.digest),
      blobs.map(({ descriptor }) => descriptor.digest),
    );
  });
});
