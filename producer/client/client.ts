import type {
  Collection,
  CollectionSummary,
  DesiredRequest,
  DesiredSet,
  DrainRequest,
  FailedJob,
  FleetContainers,
  GcRequest,
  Image,
  KeptImage,
  Node,
  NodeImage,
  NodeImageList,
  Pull,
  PullList,
  PullRequest,
  Queue,
  Retried,
  StoredBlob,
} from './api.ts';
import { NodeContainers } from './containers.ts';
import { unreachable } from './error.ts';
import { readEvents } from './events.ts';
import { type CallOptions, type ClientOptions, delayOf, Requests, wait } from './requests.ts';

export type * from './api.ts';
export type { LogOptions, NodeContainers } from './containers.ts';
export { DrayageError } from './error.ts';
export type { CallOptions, ClientOptions } from './requests.ts';

/**
 * A client of drayage's HTTP API, on `fetch` alone. Requests are tried again while the API is away: a pull is
 * never created twice by that, since each carries an Idempotency-Key. What the API refuses is thrown as a
 * DrayageError; what the caller's signal ends, as its reason.
 */
export class DrayageClient {
  readonly #requests: Requests;

  constructor(options: ClientOptions) {
    this.#requests = new Requests(options);
  }

  /**
   * Enqueues a pull. Once this resolves, it is not lost by the death of any process.
   * @param options.idempotencyKey of the caller's own, so that the caller too can try again
   */
  async pull(
    request: PullRequest,
    options: CallOptions & { idempotencyKey?: string } = {},
  ): Promise<Pull> {
    const headers = { 'idempotency-key': options.idempotencyKey ?? crypto.randomUUID() };
    return await this.#requests.json('POST', '/v1/pulls', { body: request, headers, ...options });
  }

  /** A pull as it stands. */
  async getPull(id: string, options: CallOptions = {}): Promise<Pull> {
    return await this.#requests.json('GET', pullPath(id), options);
  }

  /** One page of pulls, newest first; `cursor` is the `next` of the page before. */
  async listPulls(
    options: CallOptions & { limit?: number; cursor?: string; state?: 'open' } = {},
  ): Promise<PullList> {
    const query = new URLSearchParams();
    for (const name of ['limit', 'cursor', 'state'] as const) {
      const value = options[name];
      if (value !== undefined) query.set(name, String(value));
    }
    return await this.#requests.json('GET', `/v1/pulls?${query}`, options);
  }

  /** Cancels a pull; again is no error. @throws DrayageError CONFLICT when it has ended */
  async cancelPull(id: string, options: CallOptions = {}): Promise<Pull> {
    return await this.#requests.json('POST', `${pullPath(id)}/cancel`, options);
  }

  /** Pulls anew what a failed or cancelled pull was for. @returns the new pull; again is the same one */
  async retryPull(id: string, options: CallOptions = {}): Promise<Pull> {
    return await this.#requests.json('POST', `${pullPath(id)}/retry`, options);
  }

  /** No further node of a pull begins until it is resumed. @throws CONFLICT when it has ended */
  async pausePull(id: string, options: CallOptions = {}): Promise<Pull> {
    return await this.#requests.json<Pull>('POST', `${pullPath(id)}/pause`, options);
  }

  async resumePull(id: string, options: CallOptions = {}): Promise<Pull> {
    return await this.#requests.json<Pull>('POST', `${pullPath(id)}/resume`, options);
  }

  /**
   * Follows a pull: each state as it comes, the last one being `ready`, `partial`, `failed` or `cancelled`. A stream that
   * breaks is taken up where it broke.
   */
  async *waitForPull(id: string, options: CallOptions = {}): AsyncGenerator<Pull, void, undefined> {
    let pull: Pull | undefined;
    let last: string | undefined;
    for (let fruitless = 0; ; fruitless++) {
      const response = await this.#requests.send('GET', `${pullPath(id)}/events`, {
        headers: { accept: 'text/event-stream', ...(last && { 'last-event-id': last }) },
        ...options,
      });
      let cause: unknown = new Error('the events ended before the pull');
      try {
        for await (const event of readEvents(response)) {
          if (event.name === 'pull') pull = JSON.parse(event.data) as Pull;
          else if (event.name === 'change' && pull !== undefined) {
            pull = changed(pull, JSON.parse(event.data) as Pull);
          } else continue;
          last = event.id ?? last;
          fruitless = 0;
          yield pull;
          if (['ready', 'partial', 'failed', 'cancelled'].includes(pull.state)) return;
        }
      } catch (error) {
        options.signal?.throwIfAborted();
        cause = error;
      }
      if (fruitless >= this.#requests.retries) throw unreachable(this.#requests.url, cause);
      await wait(delayOf(fruitless), options);
    }
  }

  /** The names of images in the store, all pages of them. */
  listImages(options: CallOptions = {}): AsyncGenerator<Image, void, undefined> {
    return this.#requests.items('/v1/images', options);
  }

  /** Gives an image one more name. @param image a name that it has, or the digest of its index or manifest */
  async nameImage(image: string, name: string, options: CallOptions = {}): Promise<Image> {
    return await this.#requests.json('POST', '/v1/images', { body: { image, name }, ...options });
  }

  /** Removes a name; content and snapshots stay. */
  async removeImage(name: string, options: CallOptions = {}): Promise<void> {
    await this.#requests.remove(`/v1/images?name=${encodeURIComponent(name)}`, options);
  }

  /** The blobs of the content store, all pages of them. */
  listContent(options: CallOptions = {}): AsyncGenerator<StoredBlob, void, undefined> {
    return this.#requests.items('/v1/content', options);
  }

  /** The bytes of a blob. They were verified when they came into the store. */
  async getBlob(digest: string, options: CallOptions = {}): Promise<ReadableStream<Uint8Array>> {
    const path = `/v1/content/${encodeURIComponent(digest)}/bytes`;
    const headers = { accept: 'application/octet-stream' };
    const { body } = await this.#requests.send('GET', path, { headers, ...options });
    return body ?? new ReadableStream({ start: (controller) => controller.close() });
  }

  /** The nodes of the fleet. */
  async listNodes(options: CallOptions = {}): Promise<Node[]> {
    return (await this.#requests.json<{ items: Node[] }>('GET', '/v1/nodes', options)).items;
  }

  /** The images that a node holds unpacked, as its agent said within the last seconds. */
  async listNodeImages(node: string, options: CallOptions = {}): Promise<NodeImage[]> {
    return (await this.#requests.json<NodeImageList>('GET', `${nodePath(node)}/images`, options))
      .items;
  }

  /**
   * Has a node get nothing new (`cordon`), puts down its work too (`drain`), or has it take work again.
   * @param options.stopContainers of a drain: its containers end too
   */
  async markNode(
    node: string,
    verb: 'cordon' | 'uncordon' | 'drain',
    options: CallOptions & DrainRequest = {},
  ): Promise<Node> {
    const { stopContainers, ...call } = options;
    const body = stopContainers === undefined ? {} : { body: { stopContainers } };
    return await this.#requests.json('POST', `${nodePath(node)}/${verb}`, { ...body, ...call });
  }

  /** Forgets a node that is lost. @throws CONFLICT for one whose agent lives */
  async removeNode(node: string, options: CallOptions = {}): Promise<void> {
    await this.#requests.send('DELETE', nodePath(node), options);
  }

  /** The containers of a node. Each call of it needs a token; what changes them, one of scope `run`. */
  containers(node: string): NodeContainers {
    return new NodeContainers(this.#requests, node);
  }

  /** The containers of all nodes, and which nodes could not say. */
  async listContainers(options: CallOptions = {}): Promise<FleetContainers> {
    return await this.#requests.json('GET', '/v1/containers', options);
  }

  /** What nodes shall hold from now on. */
  async listDesiredSets(options: CallOptions = {}): Promise<DesiredSet[]> {
    return (await this.#requests.json<{ items: DesiredSet[] }>('GET', '/v1/desired', options))
      .items;
  }

  async getDesiredSet(name: string, options: CallOptions = {}): Promise<DesiredSet> {
    return await this.#requests.json('GET', `/v1/desired/${encodeURIComponent(name)}`, options);
  }

  /** Has nodes hold an image from now on: makes the set, or replaces it, and pulls to the nodes that match. */
  async putDesiredSet(
    name: string,
    request: DesiredRequest,
    options: CallOptions = {},
  ): Promise<KeptImage> {
    const path = `/v1/desired/${encodeURIComponent(name)}`;
    return await this.#requests.json('PUT', path, { body: request, ...options });
  }

  /** What nodes hold of it stays. */
  async removeDesiredSet(name: string, options: CallOptions = {}): Promise<void> {
    await this.#requests.send('DELETE', `/v1/desired/${encodeURIComponent(name)}`, options);
  }

  /** The queues as they stand. */
  async listQueues(options: CallOptions = {}): Promise<Queue[]> {
    return (await this.#requests.json<{ items: Queue[] }>('GET', '/v1/queues', options)).items;
  }

  /** The failed jobs of a queue, the latest first, all pages of them. */
  listFailedJobs(
    queue: string,
    options: CallOptions = {},
  ): AsyncGenerator<FailedJob, void, undefined> {
    return this.#requests.items(failedPath(queue), options);
  }

  /** Does again what a failed job was for. @returns the new pulls */
  async retryJob(queue: string, id: string, options: CallOptions = {}): Promise<string[]> {
    const path = `${failedPath(queue, id)}/retry`;
    return (await this.#requests.json<Retried>('POST', path, options)).pulls;
  }

  async removeJob(queue: string, id: string, options: CallOptions = {}): Promise<void> {
    await this.#requests.remove(failedPath(queue, id), options);
  }

  /**
   * Has garbage collected now, or, as a dry run, has it said what would go; in the store and on all nodes that are
   * heard of, where the request does not say which.
   * @returns what {@link waitForCollection} follows
   */
  async collectGarbage(
    request: GcRequest = {},
    options: CallOptions & { idempotencyKey?: string } = {},
  ): Promise<Collection> {
    const headers = { 'idempotency-key': options.idempotencyKey ?? crypto.randomUUID() };
    return await this.#requests.json('POST', '/v1/gc', { body: request, headers, ...options });
  }

  /** What a collection removed so far, or would remove, and why. */
  async getCollection(id: string, options: CallOptions = {}): Promise<Collection> {
    return await this.#requests.json('GET', `/v1/gc/${encodeURIComponent(id)}`, options);
  }

  /** A collection once the store and all nodes that were asked have answered. */
  async waitForCollection(id: string, options: CallOptions = {}): Promise<Collection> {
    for (;;) {
      const collection = await this.getCollection(id, options);
      if (collection.state === 'done') return collection;
      await wait(collectionPoll, options);
    }
  }

  /** The collections of the last hour, the latest first, all pages of them. */
  listCollections(options: CallOptions = {}): AsyncGenerator<CollectionSummary, void, undefined> {
    return this.#requests.items('/v1/gc', options);
  }
}

/** Milliseconds between two looks at a collection. */
const collectionPoll = 300;

/** The pull after a change, which has only those of its nodes that are new. */
function changed(pull: Pull, change: Pull): Pull {
  const nodes = new Map(pull.nodes.map((node) => [node.name, node]));
  for (const node of change.nodes) nodes.set(node.name, node);
  return { ...change, nodes: [...nodes.values()] };
}

function nodePath(node: string): string {
  return `/v1/nodes/${encodeURIComponent(node)}`;
}

function pullPath(id: string): string {
  return `/v1/pulls/${encodeURIComponent(id)}`;
}

function failedPath(queue: string, job?: string): string {
  const path = `/v1/queues/${encodeURIComponent(queue)}/failed`;
  return job === undefined ? path : `${path}/${encodeURIComponent(job)}`;
}
