import { mkdir, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Config } from './config/config.ts';
import { createLogger, type Logger } from './logging.ts';
import { measurePulls } from './pull/measure.ts';
import { type Health, serveTelemetry } from './telemetry/serve.ts';
import { startTracing } from './telemetry/trace.ts';

export interface Program {
  log: Logger;
  /** Aborts when the program was asked to stop. */
  stopping: AbortSignal;
  /** What must be closed at the end, the latest first. */
  cleanUp: AsyncDisposableStack;
}

/** Milliseconds that a program takes at most to hand back its work. */
const stopBound = 20_000;
/** Milliseconds in which one that has taken no work yet is closed. */
const unstartedBound = 1_000;

/** Where a program says that it is ready: a file with its pid. */
function readyFile(config: Config, name: string): string {
  return path.join(config.stateDirectory, 'run', `${name}.ready`);
}

/**
 * The frame of a long-running program: `start` sets it up and says how it is from then on; SIGTERM or SIGINT
 * stops it within a bound.
 * While it is ready, `<state>/run/<name>.ready` holds its pid.
 */
export async function runProgram(
  config: Config,
  name: string,
  start: (program: Program) => Promise<Health>,
): Promise<void> {
  const log = await createLogger(name, config.log.level);
  const stop = new AbortController();
  const cleanUp = new AsyncDisposableStack();
  const ready = readyFile(config, name);
  const stopped = new Promise<void>((resolve) => {
    for (const signal of ['SIGTERM', 'SIGINT'] as const) {
      process.on(signal, () => {
        log.info({ signal }, `${name} stops`);
        setTimeout(() => {
          log.error(`${name} could not hand back its work in time`);
          process.exit(1);
        }, stopBound).unref();
        stop.abort(new Error('the program stops'));
        resolve();
      });
    }
  });
  try {
    if (config.metrics.listen !== undefined) measurePulls();
    cleanUp.use(await startTracing(config, name));
    const starting = start({ log, stopping: stop.signal, cleanUp });
    const health = await Promise.race([starting, stopped]);
    if (health === undefined) {
      // It waits for something that does not come, Redis for one, and has no work to hand back.
      starting.catch(() => {});
      await Promise.race([cleanUp.disposeAsync(), sleep(unstartedBound)]);
      process.exit(0);
    }
    if (config.metrics.listen !== undefined) {
      const server = await serveTelemetry(config.metrics.listen, health);
      cleanUp.defer(() => server.close());
    }
    await mkdir(path.dirname(ready), { recursive: true, mode: 0o750 });
    await writeFile(ready, `${process.pid}\n`);
    await stopped;
    await rm(ready, { force: true });
    await cleanUp.disposeAsync();
    process.exit(0);
  } catch (error) {
    log.fatal({ err: error }, `${name} can't run`);
    await rm(ready, { force: true });
    await cleanUp.disposeAsync().catch(() => {});
    process.exit(1);
  }
}
