import { readdir, readFile, rm, stat } from 'node:fs/promises';
import path from 'node:path';
import { errnoOf } from '../../errors.ts';
import { syncFolder } from '../../sync-folder.ts';
import { type RecordForm, recordKey } from '../record-form.ts';
import type { RecordStore } from '../store.ts';
import { ifThere, inFolder } from './errors.ts';
import { type Layout, replaceFile, temporaryPrefix } from './layout.ts';

/** Files that are looked at at once. */
const batch = 64;

/**
 * Records in a folder of the layout: one file each, so that writers of different names never meet. What was read is
 * kept: a file is never changed, only replaced by another one, so that its inode and times tell whether it is still
 * the same.
 */
export class FolderRecords<T extends { name: string }> implements RecordStore<T> {
  readonly #root: string;
  readonly #folder: string;
  readonly #form: RecordForm<T>;
  readonly #known = new Map<string, { version: string; record: T }>();

  constructor(layout: Layout, folder: string, form: RecordForm<T>) {
    this.#root = layout.root;
    this.#folder = folder;
    this.#form = form;
  }

  async list(options: { signal?: AbortSignal } = {}): Promise<T[]> {
    options.signal?.throwIfAborted();
    return await inFolder(this.#root, () => this.#list());
  }

  async get(name: string, options: { signal?: AbortSignal } = {}): Promise<T | undefined> {
    options.signal?.throwIfAborted();
    return await inFolder(this.#root, () => this.#readFile(this.#fileOf(name)));
  }

  async put(record: T, options: { signal?: AbortSignal } = {}): Promise<void> {
    options.signal?.throwIfAborted();
    await inFolder(this.#root, () =>
      replaceFile(this.#fileOf(record.name), this.#form.encode(record)),
    );
  }

  async remove(name: string, options: { signal?: AbortSignal } = {}): Promise<boolean> {
    options.signal?.throwIfAborted();
    return await inFolder(this.#root, async () => {
      try {
        await rm(this.#fileOf(name));
      } catch (error) {
        if (errnoOf(error) === 'ENOENT') return false;
        throw error;
      }
      await syncFolder(this.#folder);
      return true;
    });
  }

  #fileOf(name: string): string {
    return path.join(this.#folder, recordKey(name));
  }

  async #list(): Promise<T[]> {
    const names = (await readdir(this.#folder)).filter((name) => !name.startsWith(temporaryPrefix));
    const there = new Set(names);
    for (const name of this.#known.keys()) if (!there.has(name)) this.#known.delete(name);
    const records: T[] = [];
    for (let at = 0; at < names.length; at += batch) {
      const some = names.slice(at, at + batch);
      for (const record of await Promise.all(some.map((name) => this.#readKnown(name)))) {
        if (record !== undefined) records.push(record);
      }
    }
    return records.sort((a, b) => (a.name < b.name ? -1 : 1));
  }

  async #readKnown(name: string): Promise<T | undefined> {
    const file = path.join(this.#folder, name);
    const found = await ifThere(stat(file, { bigint: true }));
    if (found === undefined) return undefined;
    const version = `${found.ino} ${found.mtimeNs} ${found.size}`;
    const known = this.#known.get(name);
    if (known?.version === version) return known.record;
    const record = await this.#readFile(file);
    // Replaced in between, it is read again the next time: no later file has the version that was looked up first.
    if (record !== undefined) this.#known.set(name, { version, record });
    return record;
  }

  /** @returns undefined when there is no such file */
  async #readFile(file: string): Promise<T | undefined> {
    const text = await ifThere(readFile(file, 'utf8'));
    return text === undefined ? undefined : this.#form.decode(text, file);
  }
}
