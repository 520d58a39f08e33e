import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { openFolderStore } from '../../../shared/content/folder/store.ts';
import { ContentLease } from '../../../shared/gc/lease.ts';
import { mediaTypes } from '../../../shared/image/descriptor.ts';
import { digestOf } from '../../../shared/image/digest.ts';
import type { PlannedBlob } from '../../../shared/pull/record.ts';
import { PullRecords } from '../../../shared/pull/records.ts';
import { followUps } from '../../../worker/fleet/resolve.ts';
import { startRedis } from '../../support/redis.ts';
import { requireTool } from '../../support/requirements.ts';
import { temporaryFolder } from '../agent/snapshot/agent-root.ts';

describe('followUps', () => {
  test('blobs are asked for in the order of the plan', async (t) => {
    if (!requireTool(t, 'redis-server')) return;
    await using folder = await temporaryFolder();
    await using server = await startRedis();
    await using store = await openFolderStore({ path: folder.path });
    const redis = server.connect();
    const records = new PullRecords(redis, '{test}');
    const id = await records.create({
      reference: 'localhost:1/a:b',
      platform: 'linux/amd64',
      nodes: [],
      want: 'image',
    });
    // A set in Redis has an order of its own: with so many members it is never that of the plan.
    const blobs = Array.from({ length: 30 }, (_, i): PlannedBlob => {
      const digest = digestOf(`layer ${i}`);
      const descriptor = { mediaType: mediaTypes.ociManifest, digest, size: i };
      return { descriptor, kind: 'layer', existed: false };
    });
    const newLease = () => new ContentLease(redis, '{test}');
    await records.plan(id, [], blobs);
    const jobs = await followUps(id, { records, store, newLease }, {});
    assert.deepEqual(
      jobs.map((job) => job.queue === 'fetch-blob' && job.digest),
      blobs.map(({ descriptor }) => descriptor.digest),
    );
  });
});
