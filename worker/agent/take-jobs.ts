import type { Store } from '../../shared/content/store.ts';
import type { Logger } from '../../shared/logging.ts';
import { heartbeat, heartbeatInterval, type NodeInfo } from '../../shared/node/registry.ts';
import { PullRecords } from '../../shared/pull/records.ts';
import type { Redis } from '../../shared/queue/connection.ts';
import { consume, stopConsuming } from '../../shared/queue/consume.ts';
import type { ConsumerWorker } from '../../shared/queue/consumer-worker.ts';
import { JobQueues } from '../../shared/queue/jobs.ts';
import { unpackQueue } from '../../shared/queue/names.ts';
import { parseUnpackPayload } from '../../shared/queue/payloads.ts';
import { checkServer } from '../../shared/queue/server-check.ts';
import { Hints } from './unpack/hints.ts';
import type { ImageServices } from './unpack/image.ts';
import { unpackGaveUp, unpackJob } from './unpack/job.ts';

/** Images that one node unpacks at once. One that waits for its blobs costs next to nothing. */
const concurrentImages = 64;

export interface NodeServices extends ImageServices {
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
  info: Omit<NodeInfo, 'seenAt'>,
  services: NodeServices,
): Promise<ConsumerWorker> {
  const { redis, prefix, log, stopping, cleanUp } = services;
  const records = new PullRecords(redis, prefix);
  const queues = cleanUp.use(new JobQueues(redis, prefix));
  const hints = cleanUp.use(new Hints(redis, records.keys));
  const jobs = { ...services, node: info.name, records, hints };
  const unpacking = consume(
    {
      queue: unpackQueue(info.name),
      concurrency: concurrentImages,
      parse: parseUnpackPayload,
      handle: (payload, context) => unpackJob(payload, jobs, context),
      gaveUp: (payload, error) => unpackGaveUp(payload, jobs, error),
      retrying: (payload, error) => records.note(payload.pull, `waiting: ${error.message}`),
    },
    { redis, prefix, queues, log, stopping, isServerKnown: (await checkServer(redis)).isKnown },
  );
  cleanUp.defer(() => stopConsuming(unpacking, redis));
  const beat = () =>
    heartbeat(redis, prefix, info).catch((error: unknown) => {
      log.debug({ err: error }, 'heartbeat');
    });
  const beating = setInterval(beat, heartbeatInterval);
  cleanUp.defer(() => clearInterval(beating));
  await Promise.all([unpacking.waitUntilReady(), beat()]);
  return unpacking;
}
