import { chmodSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync, type SQLInputValue, type StatementSync } from 'node:sqlite';
import { DrayError, messageOf } from '../../shared/errors.ts';

/** A row as node:sqlite returns it. */
export type Row = Record<string, null | number | bigint | string | Uint8Array>;

const sqliteBusy = 5;
const sqliteFull = 13;
const sqliteNotADatabase = 26;
const sqliteCorrupt = 11;

/**
 * What the node knows of itself: one SQLite file in the agent's root folder, written ahead and flushed
 * at each commit but {@link note}s', so that a torn write or a power cut leaves the state before or after a transaction.
 * It is opened once and held alone: a second agent on the same root is refused.
 */
export class NodeDatabase implements Disposable {
  readonly path: string;
  readonly #database: DatabaseSync;
  readonly #statements = new Map<string, StatementSync>();

  private constructor(path: string, database: DatabaseSync) {
    this.path = path;
    this.#database = database;
  }

  /**
   * Opens the database of an agent's root folder, which is created with mode 0700 when it is missing.
   * @throws CONFLICT when another process (or this one) holds it already
   */
  static open(root: string): NodeDatabase {
    mkdirSync(root, { recursive: true, mode: 0o700 });
    chmodSync(root, 0o700);
    const path = join(root, 'node.db');
    let database: DatabaseSync | undefined;
    try {
      database = new DatabaseSync(path, { timeout: 0 });
      // Exclusive locking comes before the first access: the lock is then taken once and kept, and the
      // kernel gives it up when the process dies, however it dies.
      database.exec('PRAGMA locking_mode = EXCLUSIVE');
      database.exec('PRAGMA journal_mode = WAL');
      database.exec('PRAGMA synchronous = FULL');
      database.exec('PRAGMA foreign_keys = ON');
      database.exec(
        'CREATE TABLE IF NOT EXISTS schema (part TEXT PRIMARY KEY, version INTEGER NOT NULL) STRICT',
      );
      database.exec('BEGIN EXCLUSIVE; COMMIT');
      chmodSync(path, 0o600);
      return new NodeDatabase(path, database);
    } catch (error) {
      if (database?.isOpen) database.close();
      throw opening(error, root, path);
    }
  }

  /**
   * Brings one part's tables to the newest version. `steps` is that part's whole history, oldest first,
   * and only ever grows at its end: the steps that the file has not seen are run, each whole or not at all.
   * @throws CONFLICT when a newer drayage wrote the file
   */
  migrate(part: string, steps: readonly string[]): void {
    const found = this.get('SELECT version FROM schema WHERE part = ?', part);
    const version = Number(found?.version ?? 0);
    if (version > steps.length) {
      throw new DrayError(
        'CONFLICT',
        `${this.path} has version ${version} of its ${part}, this program knows version ${steps.length}`,
        { hint: 'A newer drayage wrote it. Run that version, or a newer one.' },
      );
    }
    steps.slice(version).forEach((step, index) => {
      this.transaction(() => {
        this.#database.exec(step);
        this.run(
          'INSERT INTO schema (part, version) VALUES (?, ?) ON CONFLICT (part) DO UPDATE SET version = excluded.version',
          part,
          version + index + 1,
        );
      });
    });
  }

  /** Runs `work` in one transaction, which is durable when this returns and undone when `work` throws. */
  transaction<T>(work: () => T): T {
    this.#database.exec('BEGIN IMMEDIATE');
    try {
      const result = work();
      this.#database.exec('COMMIT');
      return result;
    } catch (error) {
      if (this.#database.isTransaction) this.#database.exec('ROLLBACK');
      throw writing(error, this.path);
    }
  }

  /** Runs a statement that returns no rows. @returns the number of rows it changed */
  run(sql: string, ...values: SQLInputValue[]): number {
    try {
      return Number(this.#prepare(sql).run(...values).changes);
    } catch (error) {
      throw writing(error, this.path);
    }
  }

  /**
   * Changes rows without waiting for the disk: a power cut may undo it, with all that came after it. The next change
   * that is waited for takes it along. The end of this process undoes nothing.
   */
  note<T>(work: () => T): T {
    // Within a transaction its own commit decides.
    if (this.#database.isTransaction) return work();
    this.#database.exec('PRAGMA synchronous = NORMAL');
    try {
      return work();
    } finally {
      this.#database.exec('PRAGMA synchronous = FULL');
    }
  }

  /** The first row of a query. */
  get(sql: string, ...values: SQLInputValue[]): Row | undefined {
    return this.#prepare(sql).get(...values) as Row | undefined;
  }

  /** All rows of a query. */
  all(sql: string, ...values: SQLInputValue[]): Row[] {
    return this.#prepare(sql).all(...values) as Row[];
  }

  /** Gives the file to the next agent. */
  close(): void {
    this.#statements.clear();
    if (this.#database.isOpen) this.#database.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  #prepare(sql: string): StatementSync {
    let statement = this.#statements.get(sql);
    if (statement === undefined) {
      statement = this.#database.prepare(sql);
      this.#statements.set(sql, statement);
    }
    return statement;
  }
}

/** The primary result code of an error of node:sqlite (extended codes keep it in their low byte). */
function resultCode(error: unknown): number | undefined {
  if (typeof error !== 'object' || error === null || !('errcode' in error)) return undefined;
  return typeof error.errcode === 'number' ? error.errcode & 0xff : undefined;
}

function opening(error: unknown, root: string, path: string): DrayError {
  const code = resultCode(error);
  if (code === sqliteBusy) {
    return new DrayError('CONFLICT', `Another agent holds ${root}`, {
      cause: error,
      hint: 'Stop that agent, or give this one another root folder.',
      context: { path },
    });
  }
  if (code === sqliteNotADatabase || code === sqliteCorrupt) {
    return new DrayError('INTERNAL', `${path} is damaged: ${messageOf(error)}`, {
      cause: error,
      hint: `Move ${root} away and pull the images again: content stores are not affected.`,
      context: { path },
    });
  }
  return new DrayError('INTERNAL', `${path} cannot be opened: ${messageOf(error)}`, {
    cause: error,
    context: { path },
  });
}

function writing(error: unknown, path: string): unknown {
  if (resultCode(error) !== sqliteFull) return error;
  return new DrayError('NO_SPACE', `No space is left for ${path}`, {
    cause: error,
    retryable: true,
    hint: 'Free space on the disk of the agent, then try again.',
  });
}
