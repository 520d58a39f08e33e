import type { Digest } from '../../../shared/image/digest.ts';
import type { Manifest } from '../../../shared/image/manifest.ts';
import type { Logger } from '../../../shared/logging.ts';
import type { PullRecords } from '../../../shared/pull/records.ts';
import type { LayerState, NodeLayerStatus } from '../../../shared/pull/status.ts';

/** Milliseconds between two writes of one node's state for one pull. */
const writeInterval = 200;

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

/** Writes how far a node is with a pull: throttled, in order, the last state always. */
export class NodeProgress implements AsyncDisposable {
  readonly #write: (state: 'unpacking' | 'ready') => Promise<void>;
  readonly #layers: NodeLayerStatus[];
  #timer: NodeJS.Timeout | undefined;
  #writing: Promise<void> = Promise.resolve();

  constructor(records: PullRecords, pull: string, node: string, manifest: Manifest, log: Logger) {
    this.#layers = manifest.layers.map(({ digest }) => ({
      digest,
      state: 'waiting',
      bytes: 0,
      existed: false,
    }));
    this.#write = async (state) => {
      try {
        await records.setNode(pull, node, { state, layers: this.#layers });
      } catch (error) {
        if (state === 'ready') throw error;
        log.debug({ err: error, pull }, 'progress could not be written');
      }
    };
    this.#later(0);
  }

  readonly layer = (event: LayerEvent): void => {
    const { digest, state, bytes, existed } = event;
    this.#layers[event.index] = { digest, state, bytes, existed };
    this.#later(writeInterval);
  };

  /** Whether every layer of that digest is on the node. */
  isDone(digest: Digest): boolean {
    return this.#layers.every((layer) => layer.digest !== digest || layer.state === 'done');
  }

  /** Every snapshot is committed: the node can run the image. */
  async ready(): Promise<void> {
    await this.#settle();
    await this.#write('ready');
  }

  #later(ms: number): void {
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      this.#writing = this.#writing.then(() => this.#write('unpacking'));
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
