import type { Digest } from '../../../shared/image/digest.ts';
import type { Manifest } from '../../../shared/image/manifest.ts';
import type { Logger } from '../../../shared/logging.ts';
import type { PullNodes } from '../../../shared/pull/pull-nodes.ts';
import type { PullOutcome } from '../../../shared/pull/settle.ts';
import type { LayerState, NodeLayerStatus } from '../../../shared/pull/status.ts';

/**
 * Milliseconds between two writes of one node's state for one pull: the more nodes it has, the longer, so that all of
 * them together write a hundred times a second at most. The end is written at once.
 */
const shortestInterval = 200;
const longestInterval = 30_000;
const intervalOfEach = 10;

/** What happened to a layer; `index` is its place in the manifest. */
export interface LayerEvent {
  index: number;
  digest: Digest;
  state: LayerState;
  /** Uncompressed bytes applied so far. */
  bytes: number;
  /** The snapshot was there before. */
  existed: boolean;
}

export interface ProgressServices {
  nodes: Pick<PullNodes, 'set'>;
  node: string;
  log: Logger;
}

/** Writes how far a node is with a pull: throttled, in order, the last state always. */
export class NodeProgress implements AsyncDisposable {
  readonly #services: ProgressServices;
  readonly #pull: string;
  readonly #layers: NodeLayerStatus[];
  readonly #interval: number;
  #movedAt = Date.now();
  #timer: NodeJS.Timeout | undefined;
  #writing: Promise<unknown> = Promise.resolve();

  /** @param nodeCount nodes of the pull */
  constructor(services: ProgressServices, pull: string, manifest: Manifest, nodeCount: number) {
    this.#services = services;
    this.#pull = pull;
    this.#layers = manifest.layers.map(({ digest }) => ({
      digest,
      state: 'waiting',
      bytes: 0,
      existed: false,
    }));
    this.#interval = Math.min(
      Math.max(shortestInterval, intervalOfEach * nodeCount),
      longestInterval,
    );
    this.#later(0);
  }

  readonly layer = (event: LayerEvent): void => {
    const { digest, state, bytes, existed } = event;
    this.#layers[event.index] = { digest, state, bytes, existed };
    this.#movedAt = Date.now();
    this.#later(this.#interval);
  };

  /** When something of it moved last, in milliseconds since the epoch. */
  get movedAt(): number {
    return this.#movedAt;
  }

  /** The layers as they are now. */
  get layers(): readonly NodeLayerStatus[] {
    return this.#layers;
  }

  /** Whether every layer of that digest is on the node. */
  isDone(digest: Digest): boolean {
    return this.#layers.every((layer) => layer.digest !== digest || layer.state === 'done');
  }

  /** Every snapshot is committed: the node can run the image. @returns what became of the pull by that */
  async ready(): Promise<PullOutcome | undefined> {
    await this.#settle();
    const { nodes, node } = this.#services;
    return await nodes.set(this.#pull, node, { state: 'ready', layers: this.#layers });
  }

  #later(ms: number): void {
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      const { nodes, node, log } = this.#services;
      this.#writing = this.#writing
        .then(() => nodes.set(this.#pull, node, { state: 'unpacking', layers: this.#layers }))
        .catch((error: unknown) => {
          log.debug({ err: error, pull: this.#pull }, 'progress could not be written');
        });
    }, ms);
  }

  async #settle(): Promise<void> {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    await this.#writing;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#settle();
  }
}
