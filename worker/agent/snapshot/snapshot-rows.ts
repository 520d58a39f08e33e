import { DrayError } from '../../../shared/errors.ts';
import { type ChainID, parseChainID, parseDiffID } from '../../../shared/image/digest.ts';
import type { NodeDatabase, Row } from '../node-database.ts';
import type { Snapshot, SnapshotKind } from './snapshot.ts';

/** The history of the tables; only ever grows at its end. */
const steps = [
  `CREATE TABLE snapshots (
     id INTEGER PRIMARY KEY,
     name TEXT NOT NULL UNIQUE,
     kind TEXT NOT NULL CHECK (kind IN ('committed', 'active', 'view')),
     parent TEXT REFERENCES snapshots (name),
     diff_id TEXT,
     bytes INTEGER NOT NULL DEFAULT 0,
     entries INTEGER NOT NULL DEFAULT 0,
     created_at INTEGER NOT NULL,
     labels TEXT NOT NULL DEFAULT '{}'
   ) STRICT;
   CREATE INDEX snapshots_by_parent ON snapshots (parent);
   CREATE TABLE snapshot_mounts (
     target TEXT PRIMARY KEY,
     snapshot INTEGER NOT NULL REFERENCES snapshots (id) ON DELETE CASCADE
   ) STRICT;`,
];

/** The rows of the snapshots and of their mounts. */
export class SnapshotRows {
  readonly #database: NodeDatabase;

  constructor(database: NodeDatabase) {
    database.migrate('snapshots', steps);
    this.#database = database;
  }

  get(name: string): Snapshot | undefined {
    const row = this.#database.get('SELECT * FROM snapshots WHERE name = ?', name);
    return row === undefined ? undefined : toSnapshot(row);
  }

  has(id: number): boolean {
    return this.#database.get('SELECT 1 FROM snapshots WHERE id = ?', id) !== undefined;
  }

  /** Oldest first. */
  list(): Snapshot[] {
    return this.#database.all('SELECT * FROM snapshots ORDER BY created_at, id').map(toSnapshot);
  }

  lastID(): number {
    return Number(this.#database.get('SELECT max(id) AS id FROM snapshots')?.id ?? 0);
  }

  /** The names of the snapshots that stand directly on `name`. */
  children(name: string): string[] {
    return this.#database
      .all('SELECT name FROM snapshots WHERE parent = ? ORDER BY id', name)
      .map((row) => String(row.name));
  }

  /** The snapshot and those below it, nearest first. @throws NOT_FOUND */
  stack(chainID: ChainID): Snapshot[] {
    const stack: Snapshot[] = [];
    for (let next: ChainID | undefined = chainID; next !== undefined; ) {
      const snapshot: Snapshot = this.requireCommitted(next);
      stack.push(snapshot);
      next = snapshot.parent;
    }
    return stack;
  }

  /** @throws NOT_FOUND */
  requireCommitted(chainID: ChainID): Snapshot {
    const snapshot = this.get(chainID);
    if (snapshot?.kind === 'committed') return snapshot;
    throw new DrayError('NOT_FOUND', `The node has no committed snapshot ${chainID}`, {
      hint: 'Pull the image to this node, which unpacks it.',
    });
  }

  /**
   * Publishes a snapshot in one transaction, if its name is free and its parent is committed.
   * @returns whether the name was free
   */
  insert(snapshot: Snapshot): boolean {
    return this.#database.transaction(() => {
      if (this.get(snapshot.name) !== undefined) return false;
      if (snapshot.parent !== undefined) this.requireCommitted(snapshot.parent);
      this.#database.run(
        'INSERT INTO snapshots (id, name, kind, parent, diff_id, bytes, entries, created_at, labels) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)',
        snapshot.id,
        snapshot.name,
        snapshot.kind,
        snapshot.parent ?? null,
        snapshot.diffID ?? null,
        snapshot.bytes,
        snapshot.entries,
        snapshot.createdAt.getTime(),
        JSON.stringify(snapshot.labels),
      );
      return true;
    });
  }

  /** Removes rows, given children before their parents, in one transaction. */
  delete(names: readonly string[]): void {
    this.#database.transaction(() => {
      for (const name of names) this.#database.run('DELETE FROM snapshots WHERE name = ?', name);
    });
  }

  /** Which snapshot was mounted at `target`, as recorded: whether it still is, the kernel knows. */
  mountedAt(target: string): number | undefined {
    const row = this.#database.get('SELECT snapshot FROM snapshot_mounts WHERE target = ?', target);
    return row === undefined ? undefined : Number(row.snapshot);
  }

  /** All recorded targets, or those of one snapshot. */
  targets(id?: number): string[] {
    const rows =
      id === undefined
        ? this.#database.all('SELECT target FROM snapshot_mounts')
        : this.#database.all('SELECT target FROM snapshot_mounts WHERE snapshot = ?', id);
    return rows.map((row) => String(row.target));
  }

  /** No mount outlives a power cut. */
  recordMount(target: string, id: number): void {
    this.#database.note(() =>
      this.#database.run(
        'INSERT INTO snapshot_mounts (target, snapshot) VALUES (?, ?) ON CONFLICT (target) DO UPDATE SET snapshot = excluded.snapshot',
        target,
        id,
      ),
    );
  }

  forgetMount(target: string): void {
    this.#database.note(() =>
      this.#database.run('DELETE FROM snapshot_mounts WHERE target = ?', target),
    );
  }
}

function toSnapshot(row: Row): Snapshot {
  const { parent, diff_id: diffID } = row;
  return {
    id: Number(row.id),
    name: String(row.name),
    kind: String(row.kind) as SnapshotKind,
    ...(typeof parent === 'string' ? { parent: parseChainID(parent) } : {}),
    ...(typeof diffID === 'string' ? { diffID: parseDiffID(diffID) } : {}),
    bytes: Number(row.bytes),
    entries: Number(row.entries),
    createdAt: new Date(Number(row.created_at)),
    labels: JSON.parse(String(row.labels)) as Record<string, string>,
  };
}
