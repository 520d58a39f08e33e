import { setTimeout as sleep } from 'node:timers/promises';
import type { ContainerEvent } from '../../../shared/agent/observe.ts';
import type { NodeDatabase, Row } from '../node-database.ts';

/** Events that are kept. */
const keptEvents = 10_000;
/** Events that are read at once. */
const pageSize = 500;
/** Milliseconds between two looks of who follows. */
const pollInterval = 100;

const now = "CAST(unixepoch('subsec') * 1000 AS INTEGER)";
const columns = 'INSERT INTO events (at, kind, container, image, exit_code, error, health)';

/**
 * The database itself writes what happened, in the transaction that changes a container's row: no event is without
 * its change, and no change without its event, whenever the agent dies.
 */
const steps = [
  `CREATE TABLE events (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    at INTEGER NOT NULL,
    kind TEXT NOT NULL,
    container TEXT NOT NULL,
    image TEXT NOT NULL,
    exit_code INTEGER,
    error TEXT,
    health TEXT
  ) STRICT;
  CREATE TRIGGER event_kept AFTER INSERT ON events BEGIN
    DELETE FROM events WHERE id <= NEW.id - ${keptEvents};
  END;
  CREATE TRIGGER event_oom AFTER UPDATE OF oom_killed ON containers
    WHEN NEW.oom_killed = 1 AND OLD.oom_killed = 0 AND NEW.state = OLD.state BEGIN
    ${columns} VALUES (${now}, 'oom', NEW.id, NEW.image, NULL, NULL, NULL);
  END;
  CREATE TRIGGER event_state AFTER UPDATE OF state ON containers
    WHEN NEW.state NOT IN (OLD.state, 'removing') AND (NEW.state IN ('created', 'running', 'paused')
      OR OLD.state IN ('starting', 'running', 'paused')) BEGIN
    ${columns} SELECT ${now}, 'oom', NEW.id, NEW.image, NULL, NULL, NULL
      WHERE NEW.oom_killed = 1 AND OLD.oom_killed = 0;
    ${columns} VALUES (
      ${now},
      CASE NEW.state
        WHEN 'created' THEN 'create'
        WHEN 'paused' THEN 'pause'
        WHEN 'running' THEN CASE OLD.state WHEN 'paused' THEN 'unpause' ELSE 'start' END
        ELSE 'die'
      END,
      NEW.id,
      NEW.image,
      CASE WHEN NEW.state IN ('exited', 'restarting') THEN NEW.exit_code END,
      CASE WHEN NEW.state IN ('exited', 'restarting') THEN NEW.error END,
      NULL
    );
  END;
  CREATE TRIGGER event_killed AFTER UPDATE OF exit_code ON containers
    WHEN NEW.state = 'removing' AND OLD.exit_code IS NULL AND NEW.exit_code IS NOT NULL BEGIN
    ${columns} VALUES (${now}, 'die', NEW.id, NEW.image, NEW.exit_code, NEW.error, NULL);
  END;
  CREATE TRIGGER event_health AFTER UPDATE OF health ON containers
    WHEN json_extract(NEW.health, '$.state') IS NOT NULL
      AND json_extract(NEW.health, '$.state') IS NOT json_extract(OLD.health, '$.state') BEGIN
    ${columns} VALUES (${now}, 'health', NEW.id, NEW.image, NULL, NULL,
      json_extract(NEW.health, '$.state'));
  END;
  CREATE TRIGGER event_remove AFTER DELETE ON containers WHEN OLD.state <> 'creating' BEGIN
    ${columns} VALUES (${now}, 'remove', OLD.id, OLD.image, NULL, NULL, NULL);
  END`,
  `ALTER TABLE events ADD COLUMN restarts INTEGER;
  CREATE TRIGGER event_restart AFTER INSERT ON events WHEN NEW.kind = 'start' BEGIN
    UPDATE events SET restarts = (
      SELECT restarts FROM containers WHERE id = NEW.container AND restarts > 0
    ) WHERE id = NEW.id;
  END`,
];

export interface EventsRequest {
  /** Those with a greater id; default: all that are kept. */
  after?: number;
  /** Those that happened since then. */
  since?: Date;
  /** Goes on until the signal. */
  follow?: boolean;
}

/** What happened to the containers of the node, as far back as it is kept. */
export class EventLog {
  readonly #database: NodeDatabase;

  /** The table of containers must be there. */
  constructor(database: NodeDatabase) {
    database.migrate('events', steps);
    this.#database = database;
  }

  /** The id of the newest event; 0 when there is none. */
  last(): number {
    return Number(this.#database.get('SELECT max(id) AS id FROM events')?.id ?? 0);
  }

  /** The oldest first. */
  async *read(
    { after = 0, since, follow = false }: EventsRequest,
    options: { signal: AbortSignal },
  ): AsyncGenerator<ContainerEvent> {
    const from = since?.getTime() ?? 0;
    for (let last = after; !options.signal.aborted; ) {
      const rows = this.#database.all(
        'SELECT * FROM events WHERE id > ? AND at >= ? ORDER BY id LIMIT ?',
        ...[last, from, pageSize],
      );
      for (const row of rows) {
        last = Number(row.id);
        yield eventOf(row);
      }
      if (rows.length === pageSize) continue;
      if (!follow) return;
      await sleep(pollInterval, undefined, options).catch(() => {});
    }
  }
}

function eventOf({
  id,
  at,
  kind,
  container,
  image,
  exit_code,
  error,
  health,
  restarts,
}: Row): ContainerEvent {
  return {
    id: Number(id),
    at: new Date(Number(at)).toISOString(),
    kind: String(kind) as ContainerEvent['kind'],
    container: String(container),
    image: String(image),
    ...(exit_code === null ? {} : { exitCode: Number(exit_code) }),
    ...(error === null ? {} : { error: String(error) }),
    ...(health === null ? {} : { health: String(health) }),
    ...(restarts === null ? {} : { restarts: Number(restarts) }),
  };
}
