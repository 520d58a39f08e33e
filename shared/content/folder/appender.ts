import type { FileHandle } from 'node:fs/promises';
import type { Digester } from '../digester.ts';
import { DiskSync } from './disk-sync.ts';

/** Bytes that are written at once at most. */
const slotBytes = 512 << 10;
/** Slots of one file: one fills while the others are written and digested. */
const mostSlots = 3;
/** Milliseconds that bytes may wait for more before they are written, so that followers see them. */
const waitingTime = 25;

/** Bytes in a slot, on their way to the file and to the digester. */
interface Batch {
  slot: Buffer;
  bytes: Buffer;
}

/**
 * Appends to a file, and digests what it appends, beside the caller who brings more. What the caller gives is
 * copied into a few slots of shared memory: the file and the thread that digests read it there, and many small
 * buffers of the network do not outlive the call.
 */
export class Appender {
  readonly #handle: FileHandle;
  readonly #slotSize: number;
  readonly #sync: DiskSync;
  #digester: Digester;
  #spare: Buffer[] = [];
  #slots = 0;
  #filling: Buffer | undefined;
  #filled = 0;
  #batches: Batch[] = [];
  #position = 0;
  #writing: Promise<void> | undefined;
  #digesting = new Set<Promise<void>>();
  #timer: NodeJS.Timeout | undefined;
  #failure: { error: unknown } | undefined;

  /** @param size of the whole file, when it is there */
  constructor(handle: FileHandle, digester: Digester, size: number) {
    this.#handle = handle;
    this.#digester = digester;
    this.#slotSize = Math.max(1, Math.min(slotBytes, size));
    this.#sync = new DiskSync(handle);
  }

  /** Bytes that are in the file. */
  get stored(): number {
    return this.#position;
  }

  /** Takes a chunk, which may be changed after. Resolves when more may come. */
  async append(chunk: Uint8Array): Promise<void> {
    for (let rest = chunk; rest.length > 0; ) {
      const slot = this.#filling ?? (await this.#acquire());
      this.#filling = slot;
      const taken = Math.min(rest.length, slot.length - this.#filled);
      slot.set(rest.subarray(0, taken), this.#filled);
      this.#filled += taken;
      rest = rest.subarray(taken);
      if (this.#filled === slot.length) this.#send();
    }
    this.#throwFailure();
    if (this.#filled > 0) this.#timer ??= setTimeout(() => this.#send(), waitingTime);
  }

  /** Takes `length` bytes that are in the file already: they are read and digested. @returns whether they were all there */
  async adopt(length: number, { signal }: { signal?: AbortSignal | undefined }): Promise<boolean> {
    while (this.#position < length) {
      signal?.throwIfAborted();
      const slot = await this.#acquire();
      const most = Math.min(slot.length, length - this.#position);
      const { bytesRead } = await this.#handle.read(slot, 0, most, this.#position);
      this.#position += bytesRead;
      this.#digest({ slot, bytes: slot.subarray(0, bytesRead) });
      if (bytesRead === 0) return false;
    }
    return true;
  }

  /** Resolves when everything is in the file. */
  async flush(): Promise<void> {
    this.#send();
    while (this.#writing !== undefined) await this.#writing;
    this.#throwFailure();
  }

  /** The digest in hex of everything that was taken. */
  async digest(): Promise<string> {
    await this.flush();
    await Promise.all(this.#digesting);
    this.#throwFailure();
    return await this.#digester.digest();
  }

  /** Resolves when everything is on the disk. */
  async sync(): Promise<void> {
    await this.flush();
    await this.#sync.finish();
  }

  /** Drops everything, what failed too, and begins again with another digester. */
  async truncate(digester: Digester): Promise<void> {
    await this.#settle();
    this.#failure = undefined;
    await this.#handle.truncate(0);
    this.#position = 0;
    this.#sync.restart();
    this.#digester.close();
    this.#digester = digester;
  }

  /** Resolves when the file is no longer in use; what was not written yet is dropped. */
  async stop(): Promise<void> {
    await this.#settle();
    this.#digester.close();
    this.#spare = [];
  }

  async #settle(): Promise<void> {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    if (this.#filling !== undefined) this.#spare.push(this.#filling);
    this.#filling = undefined;
    this.#filled = 0;
    this.#spare.push(...this.#batches.splice(0).map(({ slot }) => slot));
    await this.#writing;
    await Promise.all(this.#digesting);
    await this.#sync.settled();
  }

  /** A slot to fill, once there is one. */
  async #acquire(): Promise<Buffer> {
    for (;;) {
      this.#throwFailure();
      const slot = this.#spare.pop();
      if (slot !== undefined) return slot;
      if (this.#slots < mostSlots) {
        this.#slots++;
        return Buffer.from(new SharedArrayBuffer(this.#slotSize));
      }
      await Promise.race([...this.#digesting, ...(this.#writing ? [this.#writing] : [])]);
    }
  }

  /** Sends what was filled on its way. */
  #send(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const slot = this.#filling;
    if (slot === undefined || this.#filled === 0) return;
    this.#batches.push({ slot, bytes: slot.subarray(0, this.#filled) });
    this.#filling = undefined;
    this.#filled = 0;
    this.#writing ??= this.#write();
  }

  /** One batch after the other: followers take every byte up to the file's end for written. */
  async #write(): Promise<void> {
    let batch: Batch | undefined;
    try {
      for (batch = this.#batches.shift(); batch; batch = this.#batches.shift()) {
        for (let rest = batch.bytes; rest.length > 0; ) {
          const { bytesWritten } = await this.#handle.write(rest, 0, rest.length, this.#position);
          this.#position += bytesWritten;
          rest = rest.subarray(bytesWritten);
        }
        this.#digest(batch);
        this.#sync.advanced(this.#position);
      }
    } catch (error) {
      this.#failure ??= { error };
      if (batch !== undefined) this.#spare.push(batch.slot);
    }
    // Together with the last look at the batches: whoever adds one begins anew.
    this.#writing = undefined;
  }

  /** Digests a batch beside; its slot is free after. */
  #digest({ slot, bytes }: Batch): void {
    const one: Promise<void> = this.#digester
      .update(bytes)
      .catch((error: unknown) => {
        this.#failure ??= { error };
      })
      .finally(() => {
        this.#digesting.delete(one);
        this.#spare.push(slot);
      });
    this.#digesting.add(one);
  }

  #throwFailure(): void {
    if (this.#failure !== undefined) throw this.#failure.error;
  }
}
