import { asDrayError, DrayError, errnoOf, messageOf } from '../../shared/errors.ts';
import { printable } from './output.ts';

/** Exit codes, as the README has them. `dray run` ends with its command's own, or with 125 to 128 + n. */
export const exitCodes = {
  ok: 0,
  failure: 1,
  usage: 2,
  /** A pull got ready on some of its nodes. */
  partial: 3,
  /** Of `run` and `exec`, where 1 would be the command's own. */
  drayFailed: 125,
  interrupted: 130,
  brokenPipe: 141,
} as const;

/** Why `dray run` or `dray exec` could not do its part: it ends with 125 then, unless a cause has its own code. */
export function commandFailed(thrown: unknown): DrayError {
  const { code, message, retryable, hint, context } = asDrayError(thrown);
  return new DrayError(code, message, {
    cause: thrown,
    retryable,
    ...(hint === undefined ? {} : { hint }),
    context: { exitCode: exitCodes.drayFailed, ...context },
  });
}

/** What a failed command ends with. */
function exitCodeOf(error: DrayError): number {
  const chosen = error.context.exitCode;
  if (typeof chosen === 'number') return chosen;
  if (error.code === 'CANCELLED') return exitCodes.interrupted;
  return usageCodes.has(error.code) ? exitCodes.usage : exitCodes.failure;
}

/** What can be seen to be wrong from the command line alone. */
const usageCodes = new Set(['USAGE', 'REFERENCE_INVALID', 'DIGEST_INVALID', 'PLATFORM_INVALID']);

/** The end of a log is quoted with its lines. */
function printableLines(text: string): string {
  return text.split('\n').map(printable).join('\n');
}

/** What a failed write to standard output or standard error becomes. */
export function outputError(error: unknown): DrayError {
  const isFull = errnoOf(error) === 'ENOSPC' || errnoOf(error) === 'EDQUOT';
  const why = isFull ? 'the disk that it goes to is full' : messageOf(error);
  return new DrayError(isFull ? 'NO_SPACE' : 'INTERNAL', `The output can't be written: ${why}`, {
    cause: error,
    hint: 'Send it to another place.',
  });
}

/** Says on stderr what went wrong and what to do. @returns the exit code */
export function reportError(thrown: unknown): number {
  const error = asDrayError(thrown);
  const kind = error.code === 'CANCELLED' ? '' : 'error: ';
  let text = `dray: ${kind}${printableLines(error.message)}\n`;
  if (error.hint !== undefined && error.hint !== '') text += `  hint: ${printable(error.hint)}\n`;
  const isOurFault = error.code === 'INTERNAL' && thrown instanceof Error;
  if (isOurFault && process.env.DRAY_DEBUG !== undefined) text += `${thrown.stack}\n`;
  process.stderr.write(text);
  return exitCodeOf(error);
}
