import type { ContainerState, HealthStatus } from '../../../shared/agent/containers.ts';
import type { RunOptions } from '../../../shared/agent/run-options.ts';
import { DrayError } from '../../../shared/errors.ts';
import { parseDigest } from '../../../shared/image/digest.ts';
import type { NodeDatabase, Row } from '../node-database.ts';
import type { Container, ContainerSettings } from './container.ts';

const steps = [
  `CREATE TABLE containers (
    id TEXT PRIMARY KEY,
    instance TEXT NOT NULL UNIQUE,
    state TEXT NOT NULL,
    image TEXT NOT NULL,
    manifest TEXT NOT NULL,
    options TEXT NOT NULL,
    args TEXT NOT NULL,
    stop_signal TEXT NOT NULL,
    auto_remove INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    started_at INTEGER,
    finished_at INTEGER,
    pid INTEGER,
    exit_code INTEGER,
    error TEXT
  ) STRICT`,
  `ALTER TABLE containers ADD COLUMN settings TEXT NOT NULL
    DEFAULT '{"labels":{},"network":"host","exposedPorts":[],"mounts":[]}';
  ALTER TABLE containers ADD COLUMN restarts INTEGER NOT NULL DEFAULT 0;
  ALTER TABLE containers ADD COLUMN stop_requested INTEGER NOT NULL DEFAULT 0;
  ALTER TABLE containers ADD COLUMN oom_killed INTEGER NOT NULL DEFAULT 0;
  ALTER TABLE containers ADD COLUMN addresses TEXT NOT NULL DEFAULT '[]';
  ALTER TABLE containers ADD COLUMN health TEXT`,
  'ALTER TABLE containers ADD COLUMN backoff INTEGER NOT NULL DEFAULT 0',
  'ALTER TABLE containers ADD COLUMN kill_at INTEGER',
  `CREATE TABLE container_specs (
    instance TEXT PRIMARY KEY REFERENCES containers (instance) ON DELETE CASCADE,
    spec TEXT NOT NULL
  ) STRICT`,
];

/** The rows of the node's containers. */
export class ContainerRows {
  readonly #database: NodeDatabase;

  constructor(database: NodeDatabase) {
    database.migrate('containers', steps);
    this.#database = database;
  }

  /** All containers, oldest first. */
  list(): Container[] {
    return this.#database.all('SELECT * FROM containers ORDER BY created_at, id').map(fromRow);
  }

  get(id: string): Container | undefined {
    const row = this.#database.get('SELECT * FROM containers WHERE id = ?', id);
    return row === undefined ? undefined : fromRow(row);
  }

  /** @throws NOT_FOUND */
  require(id: string): Container {
    const container = this.get(id);
    if (container !== undefined) return container;
    throw new DrayError('NOT_FOUND', `There is no container ${id.slice(0, 140)} on this node`, {
      hint: 'dray ps --all shows those that there are.',
    });
  }

  byInstance(instance: string): Container | undefined {
    const row = this.#database.get('SELECT * FROM containers WHERE instance = ?', instance);
    return row === undefined ? undefined : fromRow(row);
  }

  /** Notes one that is being made: what of it a power cut leaves without its row is swept. @throws CONFLICT when the id is taken */
  insert(container: Container): void {
    const inserted = this.#database.note(() =>
      this.#database.run(
        `INSERT INTO containers
          (id, instance, state, image, manifest, options, args, stop_signal, auto_remove,
            created_at, settings)
          VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO NOTHING`,
        container.id,
        container.instance,
        container.state,
        container.image,
        container.manifest,
        JSON.stringify(container.options),
        JSON.stringify(container.args),
        container.stopSignal,
        container.autoRemove ? 1 : 0,
        container.createdAt.getTime(),
        JSON.stringify(container.settings),
      ),
    );
    if (inserted === 1) return;
    throw new DrayError('CONFLICT', `There is a container ${container.id} already`, {
      hint: `Choose another id, or remove it: dray rm ${container.id}`,
    });
  }

  /**
   * Writes that a container is made, and the text of its config.json, both or neither.
   * @param options.isRun it is started before anybody is told of it: that start waits for the disk
   */
  made(container: Container, spec: string, { isRun }: { isRun: boolean }): void {
    const write = () =>
      this.#database.transaction(() => {
        this.update(container);
        this.#database.run(
          'INSERT INTO container_specs (instance, spec) VALUES (?, ?)',
          container.instance,
          spec,
        );
      });
    if (isRun) this.#database.note(write);
    else write();
  }

  /** The text of a container's config.json; undefined for one of a version of drayage that kept it in the bundle alone. */
  spec(instance: string): string | undefined {
    const row = this.#database.get('SELECT spec FROM container_specs WHERE instance = ?', instance);
    return row === undefined ? undefined : String(row.spec);
  }

  /**
   * As {@link update}, for what is written again before anybody is told of it: after a power cut the container is as it
   * was before, and nothing runs.
   */
  note(container: Container): void {
    this.#database.note(() => this.update(container));
  }

  /** Writes what changes in a container's life, but for its health. */
  update(container: Container): void {
    this.#database.run(
      `UPDATE containers SET state = ?, args = ?, stop_signal = ?, started_at = ?, finished_at = ?,
        pid = ?, exit_code = ?, error = ?, settings = ?, restarts = ?, stop_requested = ?, oom_killed = ?,
        addresses = ?, backoff = ?, kill_at = ? WHERE instance = ?`,
      container.state,
      JSON.stringify(container.args),
      container.stopSignal,
      container.startedAt?.getTime() ?? null,
      container.finishedAt?.getTime() ?? null,
      container.pid ?? null,
      container.exitCode ?? null,
      container.error ?? null,
      JSON.stringify(container.settings),
      container.restarts,
      container.stopRequested ? 1 : 0,
      container.oomKilled ? 1 : 0,
      JSON.stringify(container.addresses),
      container.backoff,
      container.killAt?.getTime() ?? null,
      container.instance,
    );
  }

  /** Writes the outcome of a check, which holds no lock. */
  setHealth(instance: string, health: HealthStatus): void {
    this.#database.run(
      'UPDATE containers SET health = ? WHERE instance = ?',
      JSON.stringify(health),
      instance,
    );
  }

  /**
   * Writes how a container ended, for who follows the events, and removes it, both or neither. After a power cut that
   * undid it, it is one that ended with the node, and goes then.
   */
  deleteEnded(container: Container): void {
    this.#database.note(() =>
      this.#database.transaction(() => {
        this.update(container);
        this.delete(container.instance);
      }),
    );
  }

  delete(instance: string): void {
    this.#database.run('DELETE FROM containers WHERE instance = ?', instance);
  }
}

function fromRow(row: Row): Container {
  const { started_at, finished_at, pid, exit_code, error, health, kill_at } = row;
  return {
    id: String(row.id),
    instance: String(row.instance),
    state: String(row.state) as ContainerState,
    image: String(row.image),
    manifest: parseDigest(String(row.manifest)),
    options: JSON.parse(String(row.options)) as RunOptions,
    args: JSON.parse(String(row.args)) as string[],
    stopSignal: String(row.stop_signal),
    autoRemove: row.auto_remove === 1,
    settings: JSON.parse(String(row.settings)) as ContainerSettings,
    restarts: Number(row.restarts),
    stopRequested: row.stop_requested === 1,
    backoff: Number(row.backoff),
    ...(kill_at === null ? {} : { killAt: new Date(Number(kill_at)) }),
    oomKilled: row.oom_killed === 1,
    addresses: JSON.parse(String(row.addresses)) as string[],
    ...(health === null ? {} : { health: JSON.parse(String(health)) as HealthStatus }),
    createdAt: new Date(Number(row.created_at)),
    ...(started_at === null ? {} : { startedAt: new Date(Number(started_at)) }),
    ...(finished_at === null ? {} : { finishedAt: new Date(Number(finished_at)) }),
    ...(pid === null ? {} : { pid: Number(pid) }),
    ...(exit_code === null ? {} : { exitCode: Number(exit_code) }),
    ...(error === null ? {} : { error: String(error) }),
  };
}
