import { readdir, readFile, stat } from 'node:fs/promises';
import path from 'node:path';
import { decodeRecord } from '../image-record.ts';
import type { ImageRecord } from '../store.ts';
import { ifThere } from './errors.ts';
import { type Layout, temporaryPrefix } from './layout.ts';

/** Files that are looked at at once. */
const batch = 64;

/**
 * The records of a folder. What was read is kept: a file is never changed, only replaced by another one, so that its
 * inode and times tell whether it is still the same.
 */
export class ImageFiles {
  readonly #folder: string;
  readonly #known = new Map<string, { version: string; record: ImageRecord }>();

  constructor({ images }: Layout) {
    this.#folder = images;
  }

  async list(): Promise<ImageRecord[]> {
    const names = (await readdir(this.#folder)).filter((name) => !name.startsWith(temporaryPrefix));
    const there = new Set(names);
    for (const name of this.#known.keys()) if (!there.has(name)) this.#known.delete(name);
    const records: ImageRecord[] = [];
    for (let at = 0; at < names.length; at += batch) {
      const some = names.slice(at, at + batch);
      for (const record of await Promise.all(some.map((name) => this.#read(name)))) {
        if (record !== undefined) records.push(record);
      }
    }
    return records.sort((a, b) => (a.name < b.name ? -1 : 1));
  }

  async #read(name: string): Promise<ImageRecord | undefined> {
    const file = path.join(this.#folder, name);
    const found = await ifThere(stat(file, { bigint: true }));
    if (found === undefined) return undefined;
    const version = `${found.ino} ${found.mtimeNs} ${found.size}`;
    const known = this.#known.get(name);
    if (known?.version === version) return known.record;
    const record = await readRecord(file);
    // Replaced in between, it is read again the next time: no later file has the version that was looked up first.
    if (record !== undefined) this.#known.set(name, { version, record });
    return record;
  }
}

/** @returns undefined when there is no such file */
export async function readRecord(file: string): Promise<ImageRecord | undefined> {
  const text = await ifThere(readFile(file, 'utf8'));
  return text === undefined ? undefined : decodeRecord(text, file);
}
