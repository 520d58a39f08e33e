import { DrayError } from '../../../shared/errors.ts';

/** What a process gets when its image names no PATH, as moby has it. */
const defaultPath = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

/** All variables together. The kernel allows more, but not much: an image that needs it is broken. */
const maxEnvironmentBytes = 1024 * 1024;
/** MAX_ARG_STRLEN of execve(2), the end marker included. */
const maxStringBytes = 128 * 1024;

export interface EnvironmentRequest {
  image: readonly string[];
  overrides: readonly string[];
  hostname: string;
  home: string;
  terminal?: boolean;
}

/**
 * The variables of a process: PATH, HOSTNAME and HOME (on a terminal TERM) by default, over them the image's, over those the
 * caller's. Each name stands once, where it first stood.
 * @throws CONFIG_INVALID
 */
export function createEnvironment(request: EnvironmentRequest): string[] {
  return mergeEnvironment(
    [
      `PATH=${defaultPath}`,
      `HOSTNAME=${request.hostname}`,
      `HOME=${request.home}`,
      ...(request.terminal === true ? ['TERM=xterm'] : []),
    ],
    [...request.image, ...request.overrides],
  );
}

/** Variables with others over them; each name stands once, where it first stood. @throws CONFIG_INVALID */
export function mergeEnvironment(
  variablesBelow: readonly string[],
  variablesAbove: readonly string[],
): string[] {
  const variables = new Map<string, string>();
  for (const entry of [...variablesBelow, ...variablesAbove]) {
    const at = entry.indexOf('=');
    if (at < 1 || entry.includes('\0')) {
      throw new DrayError('CONFIG_INVALID', `"${entry.slice(0, 40)}" is not a variable`, {
        hint: 'A variable is KEY=VALUE, without NUL bytes.',
      });
    }
    variables.set(entry.slice(0, at), entry.slice(at + 1));
  }
  const environment = [...variables].map(([name, value]) => `${name}=${value}`);
  checkStrings('variable', environment);
  const bytes = environment.reduce((sum, entry) => sum + Buffer.byteLength(entry) + 1, 0);
  if (bytes > maxEnvironmentBytes) {
    throw new DrayError(
      'CONFIG_INVALID',
      `The environment has ${bytes} bytes, more than ${maxEnvironmentBytes}`,
      { hint: 'Pass large values in a file, with --mount.' },
    );
  }
  return environment;
}

export interface CommandRequest {
  entrypoint: readonly string[];
  cmd: readonly string[];
  /** Of the caller, instead of cmd. */
  args: readonly string[] | undefined;
}

/** What is run: Entrypoint, then the caller's arguments or Cmd. @throws COMMAND_MISSING, CONFIG_INVALID */
export function createCommand({ entrypoint, cmd, args }: CommandRequest): string[] {
  const replaced = args !== undefined && args.length > 0 ? args : cmd;
  const command = [...entrypoint, ...replaced];
  if (command.length === 0 || command[0] === '') {
    throw new DrayError('COMMAND_MISSING', 'The image says no command, and none was given', {
      hint: 'Give one behind the reference: dray run REF COMMAND [ARGUMENT…]',
    });
  }
  checkStrings('argument', command);
  return command;
}

function checkStrings(kind: string, strings: readonly string[]): void {
  for (const text of strings) {
    const bytes = Buffer.byteLength(text) + 1;
    if (text.includes('\0') || bytes > maxStringBytes) {
      const why = bytes > maxStringBytes ? `has ${bytes} bytes` : 'has a NUL byte';
      throw new DrayError('CONFIG_INVALID', `The ${kind} "${text.slice(0, 40)}…" ${why}`, {
        hint: `The kernel takes ${maxStringBytes - 1} bytes in one ${kind}.`,
      });
    }
  }
}
