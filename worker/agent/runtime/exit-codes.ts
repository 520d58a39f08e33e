import type { Ulimit } from '../../../shared/agent/run-options.ts';
import { DrayError } from '../../../shared/errors.ts';
import { lowLimits } from './low-limits.ts';

/** The exit codes of the field for a container whose own command did not run. */
export const exitCodes = {
  /** dray or the runtime failed. */
  failed: 125,
  /** The command is there, but can't be invoked. */
  notInvokable: 126,
  /** The command is not there. */
  notFound: 127,
  /** It ended, and nobody saw how. */
  unknown: 255,
} as const;

/**
 * Why a runtime could not create a container, with the exit code that says so as `context.exitCode`.
 * @param message of the runtime, see runtimeMessage
 * @param limits under which it did its work
 */
export function creationError(id: string, message: string, limits: Limits = []): DrayError {
  return (
    commandError(`of container ${id}`, message) ??
    setUpError(`Container ${id} could not be created`, message, limits)
  );
}

/** The same of a further process in a container. */
export function execError(id: string, message: string, limits: Limits = []): DrayError {
  return (
    commandError(`for container ${id}`, message) ??
    setUpError(`The command could not be run in container ${id}`, message, limits)
  );
}

type Limits = readonly Pick<Ulimit, 'name' | 'soft'>[];

function setUpError(what: string, message: string, limits: Limits): DrayError {
  const low = lowLimits(message, limits);
  const known = mountError(what, message) ?? sysctlError(what, message);
  if (known !== undefined) return known;
  if (low.length === 0) return failure(exitCodes.failed, `${what}: ${message.slice(0, 2000)}`);
  return failure(
    exitCodes.failed,
    `${what}: its limit ${low.join(', ')} is too low for the runtime, which sets it up under that limit`,
    'Raise --ulimit (nofile: 64 is enough), or let its command set it: sh -c "ulimit -n 1; exec …".',
  );
}

/** @param whose words that say where the command belongs to */
function commandError(whose: string, message: string): DrayError | undefined {
  const command = /exec: (.*)$/s.exec(message)?.[1] ?? message;
  if (/exec: .*(executable file not found|no such file or directory)/s.test(message)) {
    return failure(
      exitCodes.notFound,
      `The command ${whose} is not in its image: ${command}`,
      'Check its name, or give the path of a program that the image has.',
    );
  }
  if (/exec: .*(permission denied|is a directory|not a directory)/s.test(message)) {
    return failure(
      exitCodes.notInvokable,
      `The command ${whose} can't be invoked: ${command}`,
      'Name a file that is executable for the user of the container.',
    );
  }
  return undefined;
}

function failure(exitCode: number, text: string, hint?: string): DrayError {
  return new DrayError('RUNTIME_FAILED', text, {
    context: { exitCode },
    ...(hint === undefined ? {} : { hint }),
  });
}

/**
 * A command that the runtime found but the kernel refused: then the runtime's own process, already inside
 * the container, says so as the only line of output and ends with 1.
 * @returns the exit code of the field, or undefined when the container's own command ran
 */
export function refusedCommand(exitCode: number, stderrLine: string): number | undefined {
  if (exitCode !== 1) return undefined;
  if (/^exec \/\S*: (exec format error|permission denied)$/.test(stderrLine)) {
    return exitCodes.notInvokable;
  }
  // The interpreter that its first line names.
  if (/^exec \/\S*: no such file or directory$/.test(stderrLine)) return exitCodes.notFound;
  return refusedByInit(stderrLine);
}

/** The same of a command that an init was to run: see init.ts. */
function refusedByInit(stderrLine: string): number | undefined {
  const [, why] = /^ERROR \(catatonit:\d+\): failed to exec pid1: (.*)$/.exec(stderrLine) ?? [];
  if (why === undefined) return undefined;
  return why === 'No such file or directory' ? exitCodes.notFound : exitCodes.notInvokable;
}

/** A file at the place of a folder, or the reverse. */
function mountError(what: string, message: string): DrayError | undefined {
  const [, source, target] =
    /error mounting "([^"]*)" to rootfs at "([^"]*)".*not a directory/s.exec(message) ?? [];
  if (source === undefined) return undefined;
  return failure(
    exitCodes.failed,
    `${what}: ${source} and ${target} in the image are not of one kind: one is a file, the other a folder`,
    'Choose another target with --volume or --mount.',
  );
}

function sysctlError(what: string, message: string): DrayError | undefined {
  const [, path = '', why] = /(?:write|open) \/proc\/sys\/(\S+): (.*)$/s.exec(message) ?? [];
  if (why === undefined) return undefined;
  const name = path.replaceAll('/', '.');
  return failure(
    exitCodes.failed,
    `${what}: the kernel refused the setting ${name}: ${why}`,
    'Correct --sysctl.',
  );
}
