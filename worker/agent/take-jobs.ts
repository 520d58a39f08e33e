import type { Store } from '../../shared/content/store.ts';
import type { Logger } from '../../shared/logging.ts';
import type { Labels } from '../../shared/node/labels.ts';
import { heartbeat, heartbeatInterval } from '../../shared/node/registry.ts';
import { PullRecords } from '../../shared/pull/records.ts';
import type { Redis } from '../../shared/queue/connection.ts';
import { consume, stopConsuming } from '../../shared/queue/consume.ts';
import type { ConsumerWorker } from '../../shared/queue/consumer-worker.ts';
import { JobQueues } from '../../shared/queue/jobs.ts';
import { unpackQueue } from '../../shared/queue/names.ts';
import { parseUnpackPayload } from '../../shared/queue/payloads.ts';
import { checkServer } from '../../shared/queue/server-check.ts';
import type { NodeMeasures } from './describe-node.ts';
import { HeldImages, type HeldRecords } from './unpack/held-images.ts';
import { Hints } from './unpack/hints.ts';
import type { ImageServices } from './unpack/image.ts';
import { type UnpackServices, unpackGaveUp, unpackJob } from './unpack/job.ts';

/** Images that one node unpacks at once. One that waits for its blobs costs next to nothing. */
const concurrentImages = 64;

/** What a node is, for as long as its agent runs. */
export interface NodeIdentity {
  name: string;
  platform: string;
  version: string;
  labels: Labels;
}

export interface NodeServices extends ImageServices, Pick<UnpackServices, 'used'> {
  /** How the node is now. */
  measure: () => Promise<NodeMeasures>;
  /** What it remembers of the images that it holds. */
  held: HeldRecords;
  redis: Redis;
  prefix: string;
  store: Store;
  log: Logger;
  /** Aborts when the program must stop. */
  stopping: AbortSignal;
  cleanUp: AsyncDisposableStack;
}

/** Registers the node with the fleet, and takes the jobs of its queue from then on, until `cleanUp`. */
export async function takeJobs(
  identity: NodeIdentity,
  services: NodeServices,
): Promise<ConsumerWorker> {
  const { redis, prefix, log, stopping, cleanUp, snapshots } = services;
  const node = identity.name;
  const records = new PullRecords(redis, prefix);
  const queues = cleanUp.use(new JobQueues(redis, prefix));
  const hints = cleanUp.use(new Hints(redis, records.keys));
  const held = new HeldImages({
    ...{ redis, keys: records.keys, node, snapshots, records: services.held },
    onAdded: () => beatSoon(),
  });
  const jobs = { ...services, node, records, hints, held };
  const unpacking = consume(
    {
      queue: unpackQueue(node),
      // Of a thousand idle nodes, looking is most of what Redis has to do.
      stalledInterval: 6_000,
      concurrency: concurrentImages,
      parse: parseUnpackPayload,
      handle: (payload, context) => unpackJob(payload, jobs, context),
      gaveUp: (payload, error) => unpackGaveUp(payload, jobs, error),
      retrying: (payload, error) => records.note(payload.pull, `waiting: ${error.message}`),
    },
    { redis, prefix, queues, log, stopping, isServerKnown: (await checkServer(redis)).isKnown },
  );
  cleanUp.defer(() => stopConsuming(unpacking, redis));
  const beat = async () => {
    try {
      await held.refresh();
      const measures = await services.measure();
      const description = { ...identity, ...measures, images: held.count };
      const isUnknown = await heartbeat(redis, prefix, description);
      if (!isUnknown) return;
      // Redis may have been wiped.
      held.forgotten();
      await held.refresh();
    } catch (error) {
      log.debug({ err: error }, 'heartbeat');
    }
  };
  let soon: NodeJS.Timeout | undefined;
  // What the node holds, and what is free, is of interest then: once, however many images have come.
  const beatSoon = () => {
    soon ??= setTimeout(() => {
      soon = undefined;
      void beat();
    }, 1_000);
  };
  cleanUp.defer(() => clearTimeout(soon));
  const beating = setInterval(beat, heartbeatInterval);
  cleanUp.defer(() => clearInterval(beating));
  await Promise.all([unpacking.waitUntilReady(), beat()]);
  return unpacking;
}
