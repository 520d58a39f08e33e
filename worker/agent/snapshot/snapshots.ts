import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  realpathSync,
  statSync,
  utimesSync,
} from 'node:fs';
import { chmod, mkdir, readdir, realpath, statfs } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { DrayError } from '../../../shared/errors.ts';
import type { ChainID } from '../../../shared/image/digest.ts';
import { unmount } from '../linux/mount.ts';
import type { NodeDatabase } from '../node-database.ts';
import { Claims } from './claims.ts';
import { Flush } from './flush.ts';
import { removeTree, type Usage, usageOf } from './folders.ts';
import { mountLayout, mountsOf, type SnapshotLayout } from './layout.ts';
import { idMapLabel, parseIDMap } from './mapped-overlay.ts';
import { mountsUsing, readMountTable } from './mount-table.ts';
import { type Mount, parseKey, type Snapshot } from './snapshot.ts';
import { SnapshotRows } from './snapshot-rows.ts';
import type { Staging, StagingCommit } from './staging.ts';
import { type SweepReport, sweepSnapshots } from './sweep.ts';

export interface CallOptions {
  signal?: AbortSignal;
}

export interface PrepareOptions extends CallOptions {
  labels?: Record<string, string>;
}

/**
 * The node's overlay snapshots: `<root>/snapshots/<id>/fs`, beside it `work` where it is active.
 * A snapshot exists when its row does: folders are complete and flushed before, and removed after.
 */
export class Snapshots {
  readonly #folder: string;
  readonly #rows: SnapshotRows;
  /** Rights to make a chainID. */
  readonly #claims = new Claims();
  /** Changes of one snapshot, one after the other. */
  readonly #changes = new Claims();
  /** The ids of folders that have no row yet, or none any more. */
  readonly #unpublished = new Set<number>();
  readonly #flush = new Flush();
  readonly #held = new Map<ChainID, number>();
  #lastID: number;

  private constructor(folder: string, rows: SnapshotRows, lastID: number) {
    this.#folder = folder;
    this.#rows = rows;
    this.#lastID = lastID;
  }

  /** Opens the snapshots of an agent's root folder, whose database is held by this process. */
  static async open(options: {
    root: string;
    database: NodeDatabase;
    signal?: AbortSignal;
  }): Promise<Snapshots> {
    const rows = new SnapshotRows(options.database);
    await mkdir(options.root, { recursive: true, mode: 0o700 });
    // The mount table has paths without symlinks.
    const root = await realpath(options.root);
    // Layers have setuid programs: nobody but root gets near them.
    await chmod(root, 0o700);
    const folder = join(root, 'snapshots');
    await mkdir(folder, { recursive: true, mode: 0o700 });
    options.signal?.throwIfAborted();
    // What a crash left is not reused before it is swept.
    const ids = (await readdir(folder)).map(Number).filter(Number.isSafeInteger);
    return new Snapshots(folder, rows, Math.max(rows.lastID(), ...ids));
  }

  /** The committed snapshot of a stack of layers. */
  committed(chainID: ChainID): Snapshot | undefined {
    const snapshot = this.#rows.get(chainID);
    return snapshot?.kind === 'committed' ? snapshot : undefined;
  }

  /** A snapshot of any kind by its name: a chainID, or a key. */
  get(name: string): Snapshot | undefined {
    return this.#rows.get(name);
  }

  /** All snapshots, oldest first. */
  list(): Snapshot[] {
    return this.#rows.list();
  }

  /**
   * Waits for the right to make a chainID, which one holder in this process has at a time, until it is
   * disposed. Whoever gets it looks first whether the one before has committed the snapshot.
   */
  claim(chainID: ChainID, options: CallOptions = {}): Promise<Disposable> {
    return this.#claims.take(chainID, options);
  }

  /** Keeps a committed snapshot from {@link remove} until the result is disposed. @throws NOT_FOUND */
  hold(chainID: ChainID): Disposable {
    this.#rows.requireCommitted(chainID);
    this.#held.set(chainID, (this.#held.get(chainID) ?? 0) + 1);
    let holding = true;
    return {
      [Symbol.dispose]: () => {
        if (!holding) return;
        holding = false;
        const others = (this.#held.get(chainID) ?? 1) - 1;
        if (others === 0) this.#held.delete(chainID);
        else this.#held.set(chainID, others);
      },
    };
  }

  /** Opens an empty folder for a layer to be applied into. */
  async stage(chainID: ChainID, options: CallOptions = {}): Promise<Staging> {
    options.signal?.throwIfAborted();
    const id = await this.#create(['fs']);
    return {
      directory: this.#path(id, 'fs'),
      commit: (commit) => this.#commit(id, chainID, commit),
      [Symbol.asyncDispose]: () => this.#discard(id),
    };
  }

  /** Bytes that the disk of the snapshots has left. */
  async freeBytes(): Promise<number> {
    const { bavail, bsize } = await statfs(this.#folder);
    return bavail * bsize;
  }

  /** The folders of a stack of layers, nearest first: the order of overlay's lowerdir. @throws NOT_FOUND */
  lowerDirectories(chainID: ChainID): string[] {
    return this.#rows.stack(chainID).map(({ id }) => this.#path(id, 'fs'));
  }

  /** Opens a writable snapshot upon a stack, or upon nothing. @throws CONFLICT, NOT_FOUND, USAGE */
  prepare(key: string, parent?: ChainID, options: PrepareOptions = {}): Promise<Snapshot> {
    return this.#open('active', key, parent, options);
  }

  /** Opens a read-only snapshot of a stack. @throws CONFLICT, NOT_FOUND, USAGE */
  view(key: string, parent?: ChainID, options: PrepareOptions = {}): Promise<Snapshot> {
    return this.#open('view', key, parent, options);
  }

  /** How an active snapshot or view is mounted. @throws NOT_FOUND */
  mounts(key: string): Mount[] {
    return mountsOf(this.#layout(key));
  }

  /**
   * Mounts an active snapshot or view; the target folder is created where it is missing.
   * One that is mounted there already is success.
   * @throws NOT_FOUND, CONFLICT when something else is mounted there
   */
  async mount(key: string, target: string, options: CallOptions = {}): Promise<void> {
    using _change = await this.#changes.take(key, options);
    const layout = this.#layout(key);
    mkdirSync(target, { recursive: true });
    const place = realpathSync.native(target);
    const table = readMountTable();
    if (table.some((mount) => mount.target === place)) {
      if (this.#rows.mountedAt(place) === layout.id) return;
      throw new DrayError('CONFLICT', `Something else is mounted at ${place}`, {
        hint: 'Unmount it, or choose another folder.',
      });
    }
    // Recorded first: a mount that nobody knows of would let its snapshot be removed.
    this.#rows.recordMount(place, layout.id);
    try {
      await mountLayout(layout, place);
    } catch (error) {
      this.#rows.forgetMount(place);
      throw error;
    }
  }

  /** Undoes {@link mount}. What is not mounted is success. */
  async unmount(target: string, options: CallOptions = {}): Promise<void> {
    options.signal?.throwIfAborted();
    const place = existsSync(target) ? realpathSync.native(target) : resolve(target);
    const table = readMountTable();
    if (table.some((mount) => mount.target === place)) await unmount(place);
    this.#rows.forgetMount(place);
  }

  /**
   * Removes a snapshot and its folder.
   * @returns whether there was one
   * @throws CONFLICT when another snapshot stands on it, or when it is mounted or held
   */
  async remove(name: string, options: CallOptions = {}): Promise<boolean> {
    using _change = await this.#changes.take(name, options);
    const snapshot = this.#rows.get(name);
    if (snapshot === undefined) return false;
    const { id } = snapshot;
    const folder = this.#path(id, 'fs');
    const table = readMountTable();
    const mounted = new Set([
      ...mountsUsing(table, folder, (source) => source === folder),
      ...this.#rows.targets(id).filter((target) => table.some((m) => m.target === target)),
    ]);
    // Nothing is awaited between these checks and the removal of the row.
    const children = this.#rows.children(name);
    if (children.length > 0) {
      throw conflict(
        name,
        `${children.join(', ')} ${children.length > 1 ? 'stand' : 'stands'} on it`,
      );
    }
    if (mounted.size > 0) throw conflict(name, `it is mounted at ${[...mounted].join(', ')}`);
    if (this.#held.has(name as ChainID))
      throw conflict(name, 'an image that uses it is being unpacked');
    this.#unpublished.add(id);
    this.#rows.delete([name]);
    await this.#discard(id);
    return true;
  }

  /** What a snapshot itself takes on disk, without those below it. @throws NOT_FOUND */
  async usage(name: string, options: CallOptions = {}): Promise<Usage> {
    const snapshot = this.#require(name);
    if (snapshot.kind !== 'committed') return usageOf(this.#path(snapshot.id, 'fs'), options);
    return { bytes: snapshot.bytes, entries: snapshot.entries };
  }

  /**
   * Removes what a crash left: mounts under the root that `isClaimed` does not know, folders without a
   * row, rows without a folder and what stands on them. Runs at start, and does no harm later.
   */
  sweep(options: CallOptions & { isClaimed: (target: string) => boolean }): Promise<SweepReport> {
    return sweepSnapshots({
      folder: this.#folder,
      rows: this.#rows,
      isInUse: (id) => this.#unpublished.has(id),
      ...options,
    });
  }

  async #commit(
    id: number,
    name: ChainID,
    { parent, below, diffID, bytes, entries, labels = {}, ...commit }: StagingCommit,
  ): Promise<'committed' | 'exists'> {
    if (this.committed(name) !== undefined) {
      await this.#discard(id);
      return 'exists';
    }
    const { rebase, onComplete, signal } = commit;
    using _held = parent === undefined || below !== undefined ? undefined : this.hold(parent);
    const folders = below?.folders ?? (parent === undefined ? [] : this.lowerDirectories(parent));
    await rebase?.(folders);
    signal?.throwIfAborted();
    onComplete?.([this.#path(id, 'fs'), ...folders]);
    await this.#flush.everythingSoFar(this.#path(id));
    await below?.committed;
    signal?.throwIfAborted();
    const published = this.#rows.insert({
      id,
      name,
      kind: 'committed',
      ...(parent === undefined ? {} : { parent }),
      diffID,
      bytes,
      entries,
      createdAt: new Date(),
      labels,
    });
    if (!published) await this.#discard(id);
    this.#unpublished.delete(id);
    return published ? 'committed' : 'exists';
  }

  async #open(
    kind: 'active' | 'view',
    text: string,
    parent: ChainID | undefined,
    options: PrepareOptions,
  ): Promise<Snapshot> {
    const key = parseKey(text);
    using _change = await this.#changes.take(key, options);
    if (this.#rows.get(key) !== undefined) throw taken(key);
    using _held = parent === undefined ? undefined : this.hold(parent);
    const [nearest] = parent === undefined ? [] : this.lowerDirectories(parent);
    const id = await this.#create(kind === 'active' ? ['fs', 'work'] : ['fs']);
    try {
      // The root of an overlay shows the attributes of its upper folder.
      if (nearest !== undefined) copyAttributes(nearest, this.#path(id, 'fs'));
      const snapshot: Snapshot = {
        id,
        name: key,
        kind,
        ...(parent === undefined ? {} : { parent }),
        bytes: 0,
        entries: 0,
        createdAt: new Date(),
        labels: options.labels ?? {},
      };
      if (!this.#rows.insert(snapshot)) throw taken(key);
      this.#unpublished.delete(id);
      return snapshot;
    } catch (error) {
      await this.#discard(id);
      throw error;
    }
  }

  /** @throws NOT_FOUND; USAGE for what is committed */
  #layout(key: string): SnapshotLayout {
    const { id, kind, parent, labels } = this.#require(key);
    if (kind === 'committed') {
      throw new DrayError('USAGE', `${key} is committed, and mounted only below another`, {
        hint: 'Open a view of it, or prepare an active snapshot upon it.',
      });
    }
    return {
      id,
      writable: kind === 'active',
      lower: parent === undefined ? [] : this.lowerDirectories(parent),
      upper: this.#path(id, 'fs'),
      work: this.#path(id, 'work'),
      idMap: parseIDMap(labels[idMapLabel]),
    };
  }

  #require(name: string): Snapshot {
    const snapshot = this.#rows.get(name);
    if (snapshot !== undefined) return snapshot;
    throw new DrayError('NOT_FOUND', `The node has no snapshot ${name}`, {
      hint: 'dray snapshots ls shows those that there are.',
    });
  }

  #path(id: number, ...parts: string[]): string {
    return join(this.#folder, String(id), ...parts);
  }

  async #create(parts: readonly string[]): Promise<number> {
    const id = ++this.#lastID;
    this.#unpublished.add(id);
    try {
      mkdirSync(this.#path(id), { mode: 0o700 });
      for (const part of parts) {
        mkdirSync(this.#path(id, part));
        chmodSync(this.#path(id, part), 0o755);
      }
      return id;
    } catch (error) {
      await this.#discard(id);
      throw error;
    }
  }

  /** Removes the folder of an id that has no row. */
  async #discard(id: number): Promise<void> {
    if (!this.#unpublished.has(id)) return;
    // A commit whose answer was lost may have happened all the same.
    if (!this.#rows.has(id)) await removeTree(this.#path(id));
    this.#unpublished.delete(id);
  }
}

function copyAttributes(from: string, to: string): void {
  const { uid, gid, mode, atime, mtime } = statSync(from);
  chownSync(to, uid, gid);
  chmodSync(to, mode & 0o7777);
  utimesSync(to, atime, mtime);
}

function taken(key: string): DrayError {
  return new DrayError('CONFLICT', `There is a snapshot with the key ${key} already`, {
    hint: 'Choose another key, or remove that snapshot.',
  });
}

function conflict(name: string, why: string): DrayError {
  return new DrayError('CONFLICT', `Snapshot ${name} can't be removed: ${why}`, {
    hint: 'Remove or unmount what uses it first.',
  });
}
