import { type Logger, pino, stdTimeFunctions } from 'pino';
import type { LogLevel } from './config.ts';
import { encodeError } from './errors.ts';

export type { Logger } from 'pino';

/** Keys whose values never reach a log, at the top or one level down. */
const secretKeys = ['password', 'authorization', 'token', 'secret', 'auth'];

/**
 * The log of a program: JSON lines on stderr, or readable lines where stderr is a terminal.
 * `err` is written with its code and hint; values under secret names are replaced.
 */
export async function createLogger(name: string, level: LogLevel): Promise<Logger> {
  const options = {
    name,
    level,
    timestamp: stdTimeFunctions.isoTime,
    redact: { paths: secretKeys.flatMap((key) => [key, `*.${key}`]), censor: '[secret]' },
    serializers: {
      err: (error: unknown) => ({
        ...encodeError(error),
        ...(error instanceof Error && error.stack !== undefined ? { stack: error.stack } : {}),
      }),
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
