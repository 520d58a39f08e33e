import { mkdirSync, rmSync } from 'node:fs';
import path from 'node:path';
import type { Config } from '../../shared/config/config.ts';
import { DrayError, errnoOf, messageOf } from '../../shared/errors.ts';
import { type Part, partsOf, redisSocket, runningPart } from './parts.ts';
import { pingRedis } from './ping.ts';
import { endProcess } from './process-identity.ts';

interface FleetOptions {
  signal?: AbortSignal;
  /** Tells the person who waits what was started. */
  say?: (line: string) => void;
}

/** Milliseconds. Two programs start on a loaded machine, and Redis reads its append-only file. */
const readyBound = 60_000;
/** Longer than any other command holds the lock: starting or stopping all parts. */
const lockBound = 120_000;
/** A unix socket's path has at most so many bytes (unix(7)). */
const maxSocketPath = 107;

/**
 * The embedded fleet of this machine is up when this resolves: what is missing of it, for whatever reason, is
 * started. Commands that do this at once share one fleet. When all is up this looks at a few files only.
 * @throws NOT_ROOT, TOOL_MISSING, USAGE, INTERNAL or TIMEOUT with the end of a part's log
 */
export async function ensureFleet(config: Config, options: FleetOptions = {}): Promise<void> {
  const parts = partsOf(config);
  if (parts.every(isUp)) return;
  checkRights(
    'The embedded fleet has an agent, which mounts file systems and runs containers as root',
  );
  checkSocketPath(redisSocket(config));
  checkSocketPath(config.agent.socket);
  makeFolders(config);
  using _lock = await lockFleet(config, options);
  const missing = parts.filter((part) => !isUp(part));
  if (missing.length === 0) return;
  const started = await bringUpAll(missing, config, options);
  const names = parts.flatMap((part) => (started.includes(part) ? [part.name] : [])).join(', ');
  const what =
    started.length === parts.length
      ? `started the embedded fleet (${names})`
      : `started ${names} of the embedded fleet again`;
  if (started.length > 0) {
    options.say?.(`${what} in ${config.stateDirectory}; stop it with: dray down`);
  }
}

/**
 * Brings up parts at once. @returns those that were started for it
 * @throws what the first that could not be started has failed with: those that were started are stopped again
 */
async function bringUpAll(
  parts: readonly Part[],
  config: Config,
  options: FleetOptions,
): Promise<Part[]> {
  const started: Part[] = [];
  const failed = new AbortController();
  const signals = options.signal === undefined ? [] : [options.signal];
  const signal = AbortSignal.any([failed.signal, ...signals]);
  // All of them have come to an end before any is stopped: none is started behind that.
  await Promise.allSettled(
    parts.map((part) =>
      bringUp(part, config, started, { signal }).catch((error: unknown) => failed.abort(error)),
    ),
  );
  if (!failed.signal.aborted) return started;
  await Promise.all(started.map((part) => stopPart(part)));
  throw failed.signal.reason;
}

/** Starts a part and waits until it takes work. One that starts already is waited for, one that stops as well. */
async function bringUp(
  part: Part,
  config: Config,
  started: Part[],
  options: FleetOptions,
): Promise<void> {
  const { becomesReady, startFailed, startPart } = await import('./start.ts');
  const isReady = async () =>
    await becomesReady(
      part,
      async () =>
        part.name !== 'redis' || typeof (await pingRedis(redisSocket(config))) === 'number',
      { boundMs: readyBound, ...signalOf(options) },
    );
  if (await isReady()) return;
  started.push(part);
  await startPart(part);
  if (!(await isReady())) throw await startFailed(part);
}

/**
 * Stops the embedded fleet: those who take work before those who keep it. Containers run on.
 * @returns the parts that ran
 */
export async function stopFleet(config: Config, options: FleetOptions = {}): Promise<string[]> {
  const parts = partsOf(config).toReversed();
  if (parts.every((part) => runningPart(part) === undefined)) return [];
  checkRights('The embedded fleet belongs to root');
  using _lock = await lockFleet(config, options);
  const running = parts.filter((part) => runningPart(part) !== undefined);
  await Promise.all(running.filter(({ name }) => name !== 'redis').map((part) => stopPart(part)));
  await Promise.all(running.filter(({ name }) => name === 'redis').map((part) => stopPart(part)));
  return running.map(({ name }) => name);
}

/** A part is up when its process runs and says that it is ready. */
export function isUp(part: Part): boolean {
  const running = runningPart(part);
  return running !== undefined && part.isReady(running.pid);
}

async function stopPart(part: Part): Promise<void> {
  const running = runningPart(part);
  if (running !== undefined) await endProcess(running, { boundMs: part.stopBound });
  // One that even SIGKILL has not ended yet is still known by it.
  if (runningPart(part) === undefined) rmSync(part.pidFile, { force: true });
}

async function lockFleet(config: Config, options: FleetOptions): Promise<Disposable> {
  const { acquireLock } = await import('../../shared/lock.ts');
  const file = path.join(config.stateDirectory, 'run', 'fleet.lock');
  return await acquireLock(file, { boundMs: lockBound, ...signalOf(options) });
}

function makeFolders(config: Config): void {
  const { stateDirectory } = config;
  try {
    mkdirSync(stateDirectory, { recursive: true, mode: 0o755 });
    mkdirSync(path.join(stateDirectory, 'run'), { recursive: true, mode: 0o750 });
    mkdirSync(path.join(stateDirectory, 'log'), { recursive: true, mode: 0o750 });
    mkdirSync(path.join(stateDirectory, 'redis'), { recursive: true, mode: 0o700 });
  } catch (error) {
    const isFull = errnoOf(error) === 'ENOSPC';
    const hint = isFull
      ? 'Free space on its disk, or set DRAY_STATE to a folder on another one.'
      : 'Set DRAY_STATE to a folder that can be written.';
    throw new DrayError(
      isFull ? 'NO_SPACE' : 'USAGE',
      `The state folder ${stateDirectory} can't be made: ${messageOf(error)}`,
      {
        cause: error,
        hint,
      },
    );
  }
}

function checkRights(why: string): void {
  if (process.getuid?.() === 0) return;
  throw new DrayError('NOT_ROOT', `${why}; this is not root`, {
    hint: 'Run dray with sudo, or set REDIS_URL to use a fleet that runs elsewhere.',
  });
}

function checkSocketPath(socket: string): void {
  const length = Buffer.byteLength(socket);
  if (length <= maxSocketPath) return;
  throw new DrayError(
    'USAGE',
    `The socket ${socket} has a path of ${length} bytes; ${maxSocketPath} is the most`,
    {
      hint: 'Set DRAY_STATE to a folder with a shorter path.',
    },
  );
}

function signalOf({ signal }: FleetOptions): { signal?: AbortSignal } {
  return signal === undefined ? {} : { signal };
}
