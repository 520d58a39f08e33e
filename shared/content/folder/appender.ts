import type { FileHandle } from 'node:fs/promises';
import type { Digester } from '../digester.ts';

/** Bytes that are written at once at most. */
const slotBytes = 128 << 10;
/** Slots of one file: one fills while the others are written and digested. */
const mostSlots = 3;
/** Milliseconds that bytes may wait for more before they are written, so that followers see them. */
const waitingTime = 25;

/**
 * Appends to a file, and digests what it appends, beside the caller who brings more. What the caller gives is
 * copied into a few slots of shared memory: the file and the thread that digests read it there, and many small
 * buffers of the network do not outlive the call.
 */
export class Appender {
  readonly #handle: FileHandle;
  readonly #slotSize: number;
  #digester: Digester;
  #spare: Buffer[] = [];
  #slots = 0;
  #filling: Buffer | undefined;
  #filled = 0;
  /** Bytes that were sent to the file, and those of them that are there. */
  #sent = 0;
  #position = 0;
  #underWay = new Set<Promise<void>>();
  #timer: NodeJS.Timeout | undefined;
  #failure: { error: unknown } | undefined;

  /** @param size of the whole file, when it is there */
  constructor(handle: FileHandle, digester: Digester, size: number) {
    this.#handle = handle;
    this.#digester = digester;
    this.#slotSize = Math.max(1, Math.min(slotBytes, size));
  }

  /** Bytes that are in the file. */
  get stored(): number {
    return this.#position;
  }

  /** Takes a chunk, which may be changed after; a promise says when that is, and when more may come. */
  append(chunk: Uint8Array): Promise<void> | undefined {
    this.#throwFailure();
    const rest = this.#fill(chunk);
    return rest.length === 0 ? undefined : this.#appendLater(rest);
  }

  async #appendLater(chunk: Uint8Array): Promise<void> {
    for (let rest = chunk; rest.length > 0; rest = this.#fill(rest)) {
      this.#filling = await this.#acquire();
    }
    this.#throwFailure();
  }

  /** Takes as much as there is room for. @returns the rest */
  #fill(chunk: Uint8Array): Uint8Array {
    let rest = chunk;
    while (rest.length > 0) {
      this.#filling ??= this.#spareSlot();
      const slot = this.#filling;
      if (slot === undefined) return rest;
      // Not by set, which copies to shared memory word by word.
      const taken = Buffer.from(rest.buffer, rest.byteOffset, rest.length).copy(slot, this.#filled);
      this.#filled += taken;
      rest = rest.subarray(taken);
      if (this.#filled === slot.length) this.#send();
    }
    if (this.#filled > 0) this.#timer ??= setTimeout(() => this.#send(), waitingTime);
    return rest;
  }

  /** Takes `length` bytes that are in the file already: they are read and digested. @returns whether they were all there */
  async adopt(length: number, { signal }: { signal?: AbortSignal | undefined }): Promise<boolean> {
    while (this.#position < length) {
      signal?.throwIfAborted();
      const slot = await this.#acquire();
      const most = Math.min(slot.length, length - this.#position);
      const { bytesRead } = await this.#handle.read(slot, 0, most, this.#position);
      this.#position += bytesRead;
      this.#sent = this.#position;
      this.#take(slot, () => this.#digester.update(slot.subarray(0, bytesRead)));
      if (bytesRead === 0) return false;
    }
    return true;
  }

  /** Resolves when everything is in the file. */
  async flush(): Promise<void> {
    this.#send();
    await Promise.all(this.#underWay);
    this.#throwFailure();
  }

  /** The digest in hex of everything that was taken. */
  async digest(): Promise<string> {
    await this.flush();
    return await this.#digester.digest();
  }

  /** Resolves when everything is on the disk. */
  async sync(): Promise<void> {
    await this.flush();
    await this.#handle.datasync();
  }

  /** Drops everything, what failed too, and begins again with another digester. */
  async truncate(digester: Digester): Promise<void> {
    await this.#settle();
    this.#failure = undefined;
    await this.#handle.truncate(0);
    this.#position = 0;
    this.#sent = 0;
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
    await Promise.all(this.#underWay);
  }

  /** A slot to fill, once there is one. */
  async #acquire(): Promise<Buffer> {
    for (;;) {
      this.#throwFailure();
      const slot = this.#spareSlot();
      if (slot !== undefined) return slot;
      await Promise.race(this.#underWay);
    }
  }

  #spareSlot(): Buffer | undefined {
    const slot = this.#spare.pop();
    if (slot !== undefined || this.#slots === mostSlots) return slot;
    this.#slots++;
    return Buffer.from(new SharedArrayBuffer(this.#slotSize));
  }

  /** Has the filled bytes written and digested beside; their slot is free after. */
  #send(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const slot = this.#filling;
    if (slot === undefined || this.#filled === 0) return;
    const bytes = slot.subarray(0, this.#filled);
    const position = this.#sent;
    this.#sent += bytes.length;
    this.#filling = undefined;
    this.#filled = 0;
    this.#take(slot, async () => {
      await this.#digester.update(bytes, { handle: this.#handle, position });
      this.#position = position + bytes.length;
    });
  }

  /** Does something with what is in a slot; the slot is free after. */
  #take(slot: Buffer, work: () => Promise<void>): void {
    const one: Promise<void> = work()
      .catch((error: unknown) => {
        this.#failure ??= { error };
      })
      .finally(() => {
        this.#underWay.delete(one);
        this.#spare.push(slot);
      });
    this.#underWay.add(one);
  }

  #throwFailure(): void {
    if (this.#failure !== undefined) throw this.#failure.error;
  }
}
