import { createHash, type Hash } from 'node:crypto';
import { type FileHandle, link, mkdir, open, rename, rm, stat } from 'node:fs/promises';
import path from 'node:path';
import { DrayError, errnoOf } from '../../errors.ts';
import type { Descriptor } from '../../image/descriptor.ts';
import { splitDigest } from '../../image/digest.ts';
import { digestMismatch, sizeMismatch } from '../blob.ts';
import type { CallOptions, Ingest } from '../store.ts';
import { Appender } from './appender.ts';
import { folderError, ifThere, inFolder } from './errors.ts';
import { type Layout, syncFolder } from './layout.ts';
import { readFileFrom } from './read.ts';
import { freeName, isAlive, isCertain, ownName } from './writer.ts';
import { removeDead, removeFolder, type WriterFile, writerFiles } from './writer-files.ts';

/** Opens an ingest in a file of its own, and takes over what a dead writer left. */
export async function openFolderIngest(
  layout: Layout,
  descriptor: Descriptor,
  options: CallOptions,
): Promise<Ingest> {
  return await inFolder(layout.root, async () => {
    options.signal?.throwIfAborted();
    const { file, handle } = await createFile(layout, descriptor);
    const ingest = new FolderIngest(layout, descriptor, file, handle, options.signal);
    try {
      for (const left of await writerFiles(layout, descriptor.digest)) {
        if (left.length === 0 || left.length > descriptor.size) continue;
        if (await isAlive(left.writer, left.touchedAt)) continue;
        if (await ingest.takeOver(left)) break;
      }
    } catch (error) {
      await ingest[Symbol.asyncDispose]();
      throw error;
    }
    return ingest;
  });
}

async function createFile(
  layout: Layout,
  { digest, size }: Descriptor,
): Promise<{ file: string; handle: FileHandle }> {
  const folder = layout.ingestFolder(digest);
  // The folder goes when its last writer does, and that may be between these two calls.
  for (let chance = 20; ; chance--) {
    await mkdir(folder, { recursive: true, mode: 0o700 });
    const file = path.join(folder, ownName(size));
    try {
      return { file, handle: await open(file, 'wx', 0o600) };
    } catch (error) {
      if (errnoOf(error) !== 'ENOENT' || chance === 0) throw error;
    }
  }
}

class FolderIngest implements Ingest {
  readonly #layout: Layout;
  readonly #descriptor: Descriptor;
  readonly #handle: FileHandle;
  readonly #appender: Appender;
  readonly #signal: AbortSignal | undefined;
  readonly #file: string;
  #hash: Hash;
  #offset = 0;
  #open = true;

  constructor(
    layout: Layout,
    descriptor: Descriptor,
    file: string,
    handle: FileHandle,
    signal: AbortSignal | undefined,
  ) {
    this.#layout = layout;
    this.#descriptor = descriptor;
    this.#file = file;
    this.#handle = handle;
    this.#signal = signal;
    this.#appender = new Appender(handle);
    this.#hash = createHash(splitDigest(descriptor.digest).algorithm);
  }

  get offset(): number {
    return this.#offset;
  }

  /** Copies what a dead writer left; false when it is gone. The copy is ours alone, whoever else takes it over too. */
  async takeOver(left: WriterFile): Promise<boolean> {
    const source = await ifThere(open(left.file, 'r'));
    if (source === undefined) return false;
    try {
      const options = this.#signal === undefined ? {} : { signal: this.#signal };
      for await (const chunk of readFileFrom(source, 0, left.length, options)) {
        await this.write(chunk);
      }
    } finally {
      await source.close();
    }
    await this.#appender.flush();
    if (isCertain(left.writer)) await rm(left.file, { force: true });
    return true;
  }

  async write(chunk: Uint8Array): Promise<void> {
    this.#signal?.throwIfAborted();
    this.#requireOpen();
    if (chunk.length === 0) return;
    if (this.#offset + chunk.length > this.#descriptor.size) {
      throw sizeMismatch(this.#descriptor, `more than ${this.#descriptor.size}`);
    }
    this.#hash.update(chunk);
    this.#offset += chunk.length;
    await inFolder(this.#layout.root, () => this.#appender.append(chunk));
  }

  async reset(options: CallOptions = {}): Promise<void> {
    options.signal?.throwIfAborted();
    this.#requireOpen();
    await inFolder(this.#layout.root, () => this.#appender.truncate());
    this.#hash = createHash(splitDigest(this.#descriptor.digest).algorithm);
    this.#offset = 0;
  }

  async commit(options: CallOptions = {}): Promise<'committed' | 'exists'> {
    options.signal?.throwIfAborted();
    this.#requireOpen();
    const { digest, size } = this.#descriptor;
    const { algorithm } = splitDigest(digest);
    const found = `${algorithm}:${this.#hash.copy().digest('hex')}`;
    const mismatch =
      this.#offset !== size
        ? sizeMismatch(this.#descriptor, this.#offset)
        : found !== digest
          ? digestMismatch(this.#descriptor, found)
          : undefined;
    if (mismatch !== undefined) {
      await this.reset();
      throw mismatch;
    }
    return await inFolder(this.#layout.root, async () => {
      await this.#appender.sync();
      options.signal?.throwIfAborted();
      await this.#handle.chmod(0o400);
      const result = await this.#publish();
      await syncFolder(this.#layout.blobFolder(algorithm));
      this.#open = false;
      await this.#appender.stop();
      await this.#handle.close();
      await rm(this.#file, { force: true });
      await removeDead(this.#layout, digest);
      return result;
    });
  }

  async #publish(): Promise<'committed' | 'exists'> {
    const blob = this.#layout.blob(this.#descriptor.digest);
    try {
      await link(this.#file, blob);
      return 'committed';
    } catch (error) {
      const there = await ifThere(stat(blob));
      if (there === undefined) throw error;
      if (there.size === this.#descriptor.size) return 'exists';
      // A blob of another size was damaged by the disk: the verified bytes take its place.
      await rename(this.#file, blob);
      return 'committed';
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (!this.#open) return;
    this.#open = false;
    const { digest, size } = this.#descriptor;
    try {
      // What can't be written is not there to be resumed: that is no failure of the disposal.
      await this.#appender.flush().catch(() => {});
      await this.#appender.stop();
      await this.#handle.close();
      const folder = this.#layout.ingestFolder(digest);
      if (this.#appender.stored > 0) await rename(this.#file, path.join(folder, freeName(size)));
      else await rm(this.#file, { force: true });
      await removeFolder(folder);
    } catch (error) {
      if (errnoOf(error) !== 'ENOENT') throw folderError(error, this.#layout.root);
    }
  }

  #requireOpen(): void {
    if (!this.#open) {
      throw new DrayError(
        'INTERNAL',
        `The ingest of ${this.#descriptor.digest} has been closed already`,
      );
    }
  }
}
