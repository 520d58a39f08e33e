import { chmod, type FileHandle, link, mkdir, open, rename, rm, stat } from 'node:fs/promises';
import path from 'node:path';
import { DrayError, errnoOf } from '../../errors.ts';
import type { Descriptor } from '../../image/descriptor.ts';
import { splitDigest } from '../../image/digest.ts';
import { syncFolder } from '../../sync-folder.ts';
import { mismatchOf, sizeMismatch } from '../blob.ts';
import { createDigester, type Digester } from '../digester.ts';
import type { CallOptions, Ingest } from '../store.ts';
import { Appender } from './appender.ts';
import { folderError, ifThere, inFolder } from './errors.ts';
import type { Layout } from './layout.ts';
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
    for (const left of await writerFiles(layout, descriptor.digest)) {
      if (left.length === 0 || left.length > descriptor.size) continue;
      if (await isAlive(left.writer, left.touchedAt)) continue;
      const own = await takeFile(layout, descriptor, left);
      if (own !== undefined) return await resumed(layout, descriptor, own, left, options);
    }
    const own = await createFile(layout, descriptor);
    return new FolderIngest(layout, descriptor, own, options.signal);
  });
}

/** A file whose name says that this process writes it. */
interface OwnFile {
  file: string;
  handle: FileHandle;
  /** Bytes in it that another writer wrote. */
  found: number;
}

/** An ingest that begins with what another writer left. */
async function resumed(
  layout: Layout,
  descriptor: Descriptor,
  own: OwnFile,
  left: WriterFile,
  options: CallOptions,
): Promise<Ingest> {
  const ingest = new FolderIngest(layout, descriptor, own, options.signal);
  try {
    if (own.found > 0) await ingest.adopt(own.found);
    else await ingest.copy(left);
  } catch (error) {
    await ingest[Symbol.asyncDispose]();
    throw error;
  }
  return ingest;
}

/**
 * Makes a dead writer's file ours; undefined when it is gone. Of all who try, the renaming lets one have it. A new
 * file to copy it to is made where the writer's death is not certain, and where the file is a blob by now, which
 * nobody may write to.
 */
async function takeFile(
  layout: Layout,
  descriptor: Descriptor,
  left: WriterFile,
): Promise<OwnFile | undefined> {
  const before = await ifThere(stat(left.file));
  if (before === undefined) return undefined;
  if (!isCertain(left.writer) || before.nlink !== 1) return await createFile(layout, descriptor);
  const file = path.join(layout.ingestFolder(descriptor.digest), ownName(descriptor.size));
  const renamed = await ifThere(rename(left.file, file).then(() => true));
  if (renamed === undefined) return undefined;
  // It may have died on its way to the commit.
  await chmod(file, 0o600);
  return { file, handle: await open(file, 'r+'), found: before.size };
}

async function createFile(layout: Layout, { digest, size }: Descriptor): Promise<OwnFile> {
  const folder = layout.ingestFolder(digest);
  // The folder goes when its last writer does, and that may be between these two calls, or within the first.
  for (let chance = 20; ; chance--) {
    const file = path.join(folder, ownName(size));
    try {
      await mkdir(folder, { recursive: true, mode: 0o700 });
      return { file, handle: await open(file, 'wx', 0o600), found: 0 };
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
  #offset = 0;
  #open = true;

  constructor(
    layout: Layout,
    descriptor: Descriptor,
    { file, handle }: OwnFile,
    signal: AbortSignal | undefined,
  ) {
    this.#layout = layout;
    this.#descriptor = descriptor;
    this.#file = file;
    this.#handle = handle;
    this.#signal = signal;
    this.#appender = new Appender(handle, newDigester(descriptor), descriptor.size);
  }

  get offset(): number {
    return this.#offset;
  }

  /** Goes on in a file that holds `length` bytes already. */
  async adopt(length: number): Promise<void> {
    if (await this.#appender.adopt(length, { signal: this.#signal })) this.#offset = length;
    else await this.reset();
  }

  /** Copies what a dead writer left, if it is still there. The copy is ours alone, whoever else takes it over too. */
  async copy(left: WriterFile): Promise<void> {
    const source = await ifThere(open(left.file, 'r'));
    if (source === undefined) return;
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
  }

  write(chunk: Uint8Array): Promise<void> | undefined {
    try {
      this.#signal?.throwIfAborted();
      this.#requireOpen();
      if (chunk.length === 0) return undefined;
      if (this.#offset + chunk.length > this.#descriptor.size) {
        throw sizeMismatch(this.#descriptor, `more than ${this.#descriptor.size}`);
      }
      this.#offset += chunk.length;
      const waiting = this.#appender.append(chunk);
      return waiting && inFolder(this.#layout.root, () => waiting);
    } catch (error) {
      return Promise.reject(folderError(error, this.#layout.root));
    }
  }

  async reset(options: CallOptions = {}): Promise<void> {
    options.signal?.throwIfAborted();
    this.#requireOpen();
    await inFolder(this.#layout.root, () => this.#appender.truncate(newDigester(this.#descriptor)));
    this.#offset = 0;
  }

  async commit(options: CallOptions = {}): Promise<'committed' | 'exists'> {
    options.signal?.throwIfAborted();
    this.#requireOpen();
    const { digest } = this.#descriptor;
    const hex = await inFolder(this.#layout.root, () => this.#appender.digest());
    const mismatch = mismatchOf(this.#descriptor, { bytes: this.#offset, hex });
    if (mismatch !== undefined) {
      await this.reset();
      throw mismatch;
    }
    return await inFolder(this.#layout.root, async () => {
      await this.#appender.sync();
      options.signal?.throwIfAborted();
      await this.#handle.chmod(0o400);
      const result = await this.#publish();
      await syncFolder(this.#layout.blobFolder(splitDigest(digest).algorithm));
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

function newDigester({ digest, size }: Descriptor): Digester {
  return createDigester(splitDigest(digest).algorithm, size);
}
