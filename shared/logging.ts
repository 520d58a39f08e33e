import { AsyncLocalStorage } from 'node:async_hooks';
import { type Logger, pino, stdTimeFunctions } from 'pino';
import type { LogLevel } from './config/config.ts';
import { DrayError, encodeError } from './errors.ts';
import { redact } from './redact.ts';
import { traceIds } from './telemetry/trace.ts';

export type { Logger } from 'pino';

/** What each line that is written while some work is done says of it: the job, the pull, the digest. */
type LogFields = Partial<Record<'job' | 'pull' | 'digest', string>>;

const fields = new AsyncLocalStorage<LogFields>();

/** Does work; every line that is logged on the way, however deep, has these fields. */
export async function loggedAs<T>(of: LogFields, work: () => Promise<T>): Promise<T> {
  return await fields.run({ ...fields.getStore(), ...of }, work);
}

/**
 * The log of a program: JSON lines on stderr, or readable lines where stderr is a terminal. Each has the fields of
 * {@link loggedAs} and the ids of its trace. `err` is written with its code and hint; secrets are replaced.
 */
export async function createLogger(name: string, level: LogLevel): Promise<Logger> {
  const options = {
    name,
    level,
    timestamp: stdTimeFunctions.isoTime,
    // A line's own fields win.
    mixin: (own: object) => ({ ...fields.getStore(), ...traceIds(), ...own }),
    mixinMergeStrategy: (_own: object, mixed: object) => mixed,
    formatters: { log: (line: object) => redact(line) as Record<string, unknown> },
    // What a child logger is bound to passes by the formatter.
    redact: { paths: ['password', 'authorization', 'token', 'secret', 'auth'], censor: '[secret]' },
    serializers: {
      err: (error: unknown) => redact({ ...encodeError(error), ...stackOf(error) }),
    },
  };
  if (process.stderr.isTTY) {
    const { PinoPretty } = await import('pino-pretty');
    return pino(options, PinoPretty({ destination: 2, sync: true, ignore: 'pid,hostname' }));
  }
  const destination = pino.destination({ dest: 2, sync: true });
  // A log that can't be written, since its disk is full for one, ends nobody's work.
  destination.on('error', () => {});
  return pino(options, destination);
}

/** Where it came from, for what nobody has foreseen: the others say all in their message and hint. */
function stackOf(error: unknown): { stack?: string } {
  const isForeseen = error instanceof DrayError && error.code !== 'INTERNAL';
  if (isForeseen || !(error instanceof Error) || error.stack === undefined) return {};
  return { stack: error.stack };
}
