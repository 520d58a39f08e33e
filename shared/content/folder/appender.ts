import type { FileHandle } from 'node:fs/promises';

/** Bytes after which what was gathered is written. */
const batchBytes = 1 << 20;
const batchChunks = 512;
/** Bytes that may wait to be written before the caller has to. */
const waitingBytes = 4 << 20;
/** Milliseconds that bytes may wait for more before they are written, so that followers see them. */
const waitingTime = 25;
/** Bytes after which the disk is asked to begin, so that little is left to do at the commit. */
const syncBytes = 16 << 20;

/** Appends chunks to a file in large writes, beside the caller who brings more. */
export class Appender {
  readonly #handle: FileHandle;
  #gathered: Uint8Array[] = [];
  #gatheredBytes = 0;
  #position = 0;
  #synced = 0;
  #writing: Promise<void> | undefined;
  #syncing: Promise<void> | undefined;
  #timer: NodeJS.Timeout | undefined;
  #failure: { error: unknown } | undefined;

  constructor(handle: FileHandle) {
    this.#handle = handle;
  }

  /** Bytes that are in the file. */
  get stored(): number {
    return this.#position;
  }

  /** Takes a chunk, which must not be changed after. Resolves when more may come. */
  async append(chunk: Uint8Array): Promise<void> {
    this.#throwFailure();
    this.#gathered.push(chunk);
    this.#gatheredBytes += chunk.length;
    if (this.#isBatch()) this.#start();
    else this.#timer ??= setTimeout(() => this.#start(), waitingTime);
    while (this.#gatheredBytes >= waitingBytes && this.#writing !== undefined) {
      await this.#writing;
      this.#throwFailure();
    }
  }

  /** Resolves when everything is in the file. */
  async flush(): Promise<void> {
    while (this.#gatheredBytes > 0 || this.#writing !== undefined) {
      this.#throwFailure();
      this.#start();
      await this.#writing;
    }
    this.#throwFailure();
  }

  /** Resolves when everything is on the disk. */
  async sync(): Promise<void> {
    await this.flush();
    await this.#syncing;
    this.#throwFailure();
    await this.#handle.datasync();
  }

  /** Drops everything, what failed too. */
  async truncate(): Promise<void> {
    await this.stop();
    this.#failure = undefined;
    await this.#handle.truncate(0);
    this.#position = 0;
    this.#synced = 0;
  }

  /** Resolves when the file is no longer in use; what was not written yet is dropped. */
  async stop(): Promise<void> {
    this.#gathered = [];
    this.#gatheredBytes = 0;
    clearTimeout(this.#timer);
    this.#timer = undefined;
    await this.#writing;
    await this.#syncing;
  }

  #isBatch(): boolean {
    return this.#gatheredBytes >= batchBytes || this.#gathered.length >= batchChunks;
  }

  #start(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    if (this.#writing !== undefined || this.#failure !== undefined) return;
    this.#writing = this.#writeGathered()
      .catch((error: unknown) => {
        this.#failure = { error };
      })
      .finally(() => {
        this.#writing = undefined;
      });
  }

  async #writeGathered(): Promise<void> {
    // Until nothing is left: chunks that came during one write make the next one larger.
    while (this.#gatheredBytes > 0) {
      const chunks = this.#gathered;
      const bytes = this.#gatheredBytes;
      this.#gathered = [];
      this.#gatheredBytes = 0;
      const { bytesWritten } = await this.#handle.writev(chunks, this.#position);
      this.#position += bytesWritten;
      if (bytesWritten < bytes) await this.#writeRest(Buffer.concat(chunks).subarray(bytesWritten));
    }
    if (this.#position - this.#synced >= syncBytes && this.#syncing === undefined) {
      this.#synced = this.#position;
      this.#syncing = this.#handle
        .datasync()
        .catch((error: unknown) => {
          this.#failure ??= { error };
        })
        .finally(() => {
          this.#syncing = undefined;
        });
    }
  }

  /** A write came back short: the next one says why, or goes on. */
  async #writeRest(rest: Buffer): Promise<void> {
    while (rest.length > 0) {
      const { bytesWritten } = await this.#handle.write(rest, 0, rest.length, this.#position);
      this.#position += bytesWritten;
      rest = rest.subarray(bytesWritten);
    }
  }

  #throwFailure(): void {
    if (this.#failure !== undefined) throw this.#failure.error;
  }
}
