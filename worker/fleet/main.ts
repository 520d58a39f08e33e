/** The program `dray worker`: takes resolve and fetch-blob jobs. Stateless; any number may run. */

import { compactHeap } from '../../shared/compact-heap.ts';
import { loadConfig } from '../../shared/config/load.ts';
import { openStore } from '../../shared/content/open.ts';
import { DesiredSets } from '../../shared/desired/desired-sets.ts';
import { ContentLease } from '../../shared/gc/lease.ts';
import { runProgram } from '../../shared/program.ts';
import { PullRecords } from '../../shared/pull/records.ts';
import { connectRedis } from '../../shared/queue/connection.ts';
import { consume, isConsuming, settled, stopConsuming } from '../../shared/queue/consume.ts';
import { JobQueues } from '../../shared/queue/jobs.ts';
import { fetchQueue, resolveQueue, webhookQueue } from '../../shared/queue/names.ts';
import {
  parseFetchPayload,
  parseResolvePayload,
  parseWebhookPayload,
} from '../../shared/queue/payloads.ts';
import { warnOfServer } from '../../shared/queue/server-check.ts';
import { Access } from './access.ts';
import { advanceForever } from './advance.ts';
import { RegistryBudgets } from './budget/budgets.ts';
import { keepDesiredForever } from './desired.ts';
import { fetchBlobGaveUp, fetchBlobJob } from './fetch-blob.ts';
import { collectGarbage } from './gc/job.ts';
import { FetchLeases } from './lease.ts';
import { noteOf } from './note.ts';
import { reconcileForever } from './reconcile.ts';
import { createCredentials } from './registry/credentials/source.ts';
import { openRegistryClient } from './registry/open.ts';
import { reportWarnings } from './registry-warnings.ts';
import { rehearse } from './rehearsal.ts';
import { resolveGaveUp, resolveJob } from './resolve.ts';
import type { FleetServices } from './services.ts';
import { webhookJob } from './webhook/job.ts';

/** Webhooks that one worker tells at once. */
const concurrentWebhooks = 8;

const config = loadConfig();

await runProgram(config, 'worker', async ({ log, stopping, cleanUp }) => {
  const redis = connectRedis(config.redis, { name: 'worker', patient: true });
  cleanUp.defer(() => redis.disconnect());
  const store = await openStore(config.store, { signal: stopping });
  cleanUp.use(store);
  const budget = cleanUp.use(new RegistryBudgets(redis, config.redis.prefix));
  const { credentials: folder, verifiedForMs } = config.registries;
  const credentials = createCredentials({ folder });
  const records = new PullRecords(redis, config.redis.prefix);
  const client = openRegistryClient(config, {
    ...{ budget, credentials, warned: reportWarnings({ records, log }) },
  });
  cleanUp.defer(() => client.close());
  const queues = new JobQueues(redis, config.redis.prefix);
  cleanUp.use(queues);
  const leases = new FetchLeases(redis, config.redis.prefix, store.content);
  const newLease = () => new ContentLease(redis, config.redis.prefix);
  const desired = new DesiredSets(redis, config.redis.prefix, store.desired);
  const access = new Access({ store, client, credentials, verifiedForMs });
  const services: FleetServices = {
    ...{ store, client, records, desired, leases, newLease, access, log },
  };
  const isServerKnown = await warnOfServer(redis, log);
  const ends = { redis, prefix: config.redis.prefix, queues, log, stopping, isServerKnown };

  const resolves = consume(
    {
      queue: resolveQueue,
      concurrency: config.worker.resolves,
      parse: parseResolvePayload,
      handle: (payload, context) => resolveJob(payload, services, context),
      gaveUp: (payload, error) => resolveGaveUp(payload, services, error),
      retrying: async (payload, error, tries) => {
        const note = noteOf(error, tries);
        if (note !== undefined) await records.note(payload.pull, note);
      },
    },
    ends,
  );
  const fetches = consume(
    {
      queue: fetchQueue,
      concurrency: config.worker.fetches,
      parse: parseFetchPayload,
      handle: (payload, context) => fetchBlobJob(payload, services, context),
      gaveUp: (payload, error) => fetchBlobGaveUp(payload, services, error),
      retrying: async (payload, error, tries) => {
        const note = noteOf(error, tries);
        if (note === undefined) return;
        for (const pull of await records.blobs.waiting(payload.digest))
          await records.note(pull, note);
      },
      // A pull may have begun to wait after the job had looked, and before another could be added.
      left: async ({ digest }) => {
        if (!(await records.blobs.isWanted(digest))) return;
        const priority = await records.blobs.priorityOf(digest);
        await queues.add([{ queue: 'fetch-blob', digest, priority }]);
      },
    },
    ends,
  );
  const webhooks = consume(
    {
      queue: webhookQueue,
      concurrency: concurrentWebhooks,
      parse: parseWebhookPayload,
      handle: (payload, context) =>
        webhookJob(payload, { records, webhooks: config.webhooks }, context),
      gaveUp: ({ pull }) => records.told(pull),
    },
    ends,
  );
  const taking = [resolves, fetches, webhooks];
  cleanUp.defer(async () => {
    await Promise.all(taking.map((worker) => stopConsuming(worker, redis)));
  });
  await Promise.all(taking.map((worker) => worker.waitUntilReady()));
  const { prefix } = config.redis;
  const mending = { redis, prefix, records, store, desired, queues, newLease, log };
  const looking = [reconcileForever, advanceForever, keepDesiredForever].map((look) =>
    look(mending, { signal: stopping }),
  );
  cleanUp.defer(() => settled(Promise.all(looking), redis));
  await collectGarbage(config.gc, { ...services, ...ends, cleanUp });
  log.info({ store: store.describe() }, 'worker takes jobs');
  // The first pull need not wait for what is loaded when it is needed first.
  rehearse({ signal: stopping })
    .finally(compactHeap)
    .catch((error: unknown) => log.debug({ err: error }, 'no rehearsal'));
  return {
    isAlive: () => taking.every((worker) => isConsuming(worker, redis)),
    isReady: () => redis.status === 'ready',
  };
});
