import { type Digest, splitDigest } from '../image/digest.ts';

/** The queues. A node's unpack queue is its own, so that only its agent takes from it. */
export const resolveQueue = 'resolve';
export const fetchQueue = 'fetch-blob';
/** Requests to collect garbage in the store. */
export const gcQueue = 'gc';
/** Webhooks that are to be told of the end of a pull. */
export const webhookQueue = 'webhook';
/** Those that workers take from. */
export const workerQueues = [resolveQueue, fetchQueue, gcQueue, webhookQueue];
export function unpackQueue(node: string): string {
  return `unpack@${node}`;
}
/** Requests to collect garbage on a node. */
export function nodeGcQueue(node: string): string {
  return `gc@${node}`;
}
/** Whether there can be such a queue. */
export function isQueueName(name: string): boolean {
  return workerQueues.includes(name) || /^(unpack|gc)@[a-z0-9][a-z0-9.-]{0,62}$/.test(name);
}

/** BullMQ ids may not contain ":". */
export function jobIdOf(digest: Digest): string {
  const { algorithm, hex } = splitDigest(digest);
  return `${algorithm}-${hex}`;
}

const known = new Map<string, Keys>();

/** The keys that are drayage's own, beside those of the queues. All start with the configured prefix. */
export function keysOf(prefix: string): Keys {
  let keys = known.get(prefix);
  if (keys === undefined) {
    keys = makeKeys(prefix);
    known.set(prefix, keys);
  }
  return keys;
}

function makeKeys(prefix: string) {
  const own = `${prefix}:dray`;
  return {
    /** Sorted set: every pull by creation time. */
    pulls: `${own}:pulls`,
    /** Sorted set: pulls that are not finished, by when the reconciler looks after them. */
    open: `${own}:open`,
    pull: (id: string) => `${own}:pull:${id}`,
    /** Hash: digest → what the pull has to do with that blob. */
    pullBlobs: (id: string) => `${own}:pull:${id}:blobs`,
    /** Set: digests that are not in the store yet. Empty means that the content is whole. */
    pullMissing: (id: string) => `${own}:pull:${id}:missing`,
    /** List: nodes that wait for their turn. */
    pullPending: (id: string) => `${own}:pull:${id}:pending`,
    /** Sorted set: nodes that are under way, by when somebody looks whether they are. */
    pullActive: (id: string) => `${own}:pull:${id}:active`,
    /** Hash: node that has begun → how it is. */
    pullNodes: (id: string) => `${own}:pull:${id}:nodes`,
    /** Hash: node → the platform whose image it gets, where the pull brings more than one. */
    pullPlatforms: (id: string) => `${own}:pull:${id}:platforms`,
    /** Stream: what changed; whoever follows the pull reads on from the last id. */
    pullEvents: (id: string) => `${own}:pull:${id}:events`,
    /** Everything that the steps of a pull read and write, in the order of shared/pull/scripts.ts. */
    ofPull: (id: string) => [
      `${own}:pull:${id}`,
      ...['missing', 'pending', 'active', 'nodes', 'events'].map((n) => `${own}:pull:${id}:${n}`),
      `${own}:open`,
      `${own}:pull:${id}:blobs`,
      `${own}:next`,
      `${own}:owed`,
      `${own}:pull:${id}:platforms`,
    ],
    /** Set: pulls that have ended, and whose webhook was not told yet. */
    owed: `${own}:owed`,
    /** List: pulls of which nodes that wait may begin now, for the next worker that has time. */
    next: `${own}:next`,
    /** Hash: how far the transfer of a blob is. */
    blob: (digest: Digest) => `${own}:blob:${digest}`,
    /** There for as long as a worker that lives is at the transfer of a blob. */
    blobAttended: (digest: Digest) => `${own}:blob:${digest}:attended`,
    /** There while somebody found a blob of the store wrong, and no worker has looked at it. */
    blobDoubted: (digest: Digest) => `${own}:blob:${digest}:doubted`,
    /** Set: the pulls that wait for a blob. */
    blobPulls: (digest: Digest) => `${own}:blob:${digest}:pulls`,
    /** Held by the worker that fetches a small blob in its resolve step. */
    fetchLease: (digest: Digest) => `${own}:lease:${digest}`,
    /** What a caller's key stands for: the pull, and the digest of the request. */
    idempotency: (key: string) => `${own}:idempotency:${key}`,
    /** Hash: every node that registered → what its agent says of it. */
    nodes: `${own}:nodes`,
    /** Sorted set: nodes by when they were last heard of. */
    nodesSeen: `${own}:nodes:seen`,
    /** Hash: node → what people have said of it: cordoned or drained. */
    nodeMarks: `${own}:nodes:marks`,
    /** Set: digests of the manifests whose images a node holds, ready to run. */
    nodeImages: (node: string) => `${own}:node:${node}:images`,
    /** Set: the nodes that hold the image of a manifest. */
    imageNodes: (manifest: Digest) => `${own}:image:${manifest}:nodes`,
    /** Hash: desired set → its record, as the content store has it. */
    desired: `${own}:desired`,
    /** There once the copy was made of the store's records. */
    desiredCopied: `${own}:desired:copied`,
    /** Counts changes of the records. */
    desiredVersion: `${own}:desired:version`,
    /** Hash: desired set → when its tag was looked at last. */
    desiredLooked: `${own}:desired:looked`,
    /** Set: pulls that are for a desired set. */
    desiredPulls: (name: string) => `${own}:desired:${name}:pulls`,
    /** Hash: node → when it may be tried again for a desired set, and how often it has failed. */
    desiredRetries: (name: string) => `${own}:desired:${name}:retries`,
    /** Held by the worker that looks after the desired sets. */
    desiredLock: `${own}:desired:lock`,
    /** Hash: registry → what the fleet may ask of it. */
    limits: `${own}:limits`,
    /** Sorted set: registries that asked for a pause, by its end. For those who look. */
    paused: `${own}:paused`,
    /** Sorted set: registries that said what is left of their quotas, by the time when that is out of date. */
    quotas: `${own}:quotas`,
    /** What the fleet has asked of a registry. */
    budget: (registry: string) => ({
      /** Hash: when the next request is due, and when those are that wait. */
      state: `${own}:budget:${registry}`,
      /** There for as long as nobody may ask: the registry said so. */
      paused: `${own}:budget:${registry}:paused`,
      /** How often in a row it said so without saying for how long. */
      refusals: `${own}:budget:${registry}:refusals`,
      /** Sorted set: jobs that were told when to come back. */
      line: `${own}:budget:${registry}:line`,
      /** List: when the last requests were let in. */
      used: `${own}:budget:${registry}:used`,
      /** Sorted set: requests under way, by the time when they are taken for dead. */
      busy: `${own}:budget:${registry}:busy`,
      /** Hash: what the registry said is left of its quota. */
      quota: `${own}:budget:${registry}:quota`,
      /** Sorted set: requests that are not answered, by the time when they are taken for dead; while there is a quota. */
      asked: `${own}:budget:${registry}:asked`,
    }),
    /** Channel: a digest whose ingest advanced, for those who read along. A hint only. */
    advanced: `${own}:advanced`,
    /** Channel: the id of a pull that wants something no more of nodes that are at work. A hint only. */
    ended: `${own}:ended`,
    reconcileLock: `${own}:reconcile`,
    /** Sorted set: who relies on a blob or on the name of an image, by when that ends. */
    contentLease: (id: string) => `${own}:held:${id}`,
    /** Held by the worker that collects garbage in the store. */
    gcRun: `${own}:gc:run`,
    /** There for as long as no worker need begin to collect by itself. */
    gcRest: `${own}:gc:rest`,
    /** Sorted set: what is being removed from the store right now, by when whoever does that is taken for dead. */
    gcDoomed: `${own}:gc:doomed`,
    /** Sorted set, by their names: collections that somebody asked for. */
    gcRequests: `${own}:gc:requests`,
    gcRequest: (id: string) => `${own}:gc:request:${id}`,
    /** Hash: what each part of the fleet says of a collection that somebody asked for. */
    gcReport: (id: string) => `${own}:gc:report:${id}`,
  };
}

export type Keys = ReturnType<typeof makeKeys>;
