import type { FileHandle } from 'node:fs/promises';

/**
 * Bytes after which the disk is asked to begin, so that little is left to do at the commit. Each time costs a flush:
 * after 16 MiB already, blobs come in more slowly than without.
 */
const syncBytes = 128 << 20;
/** Files of this process that do so at once: each takes a thread that others need to write. */
const mostAtOnce = 2;

let atOnce = 0;

/** Brings a file that grows to its disk, from time to time and at the end. */
export class DiskSync {
  readonly #handle: FileHandle;
  #synced = 0;
  #syncing: Promise<void> | undefined;
  #failure: { error: unknown } | undefined;

  constructor(handle: FileHandle) {
    this.#handle = handle;
  }

  /** The file has grown to `position`. */
  advanced(position: number): void {
    if (position - this.#synced < syncBytes) return;
    if (this.#syncing !== undefined || atOnce >= mostAtOnce) return;
    this.#synced = position;
    atOnce++;
    this.#syncing = this.#handle
      .datasync()
      .catch((error: unknown) => {
        this.#failure ??= { error };
      })
      .finally(() => {
        atOnce--;
        this.#syncing = undefined;
      });
  }

  /** Resolves when nothing is under way. */
  async settled(): Promise<void> {
    await this.#syncing;
  }

  /** Resolves when everything is on the disk. @throws also what failed before */
  async finish(): Promise<void> {
    await this.#syncing;
    // The kernel tells a failed write-back once only.
    if (this.#failure !== undefined) throw this.#failure.error;
    await this.#handle.datasync();
  }

  /** The file is empty again. */
  restart(): void {
    this.#synced = 0;
    this.#failure = undefined;
  }
}
