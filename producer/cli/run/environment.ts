import { DrayError, messageOf } from '../../../shared/errors.ts';

/**
 * The variables of `--env`: `KEY=VALUE` as it is; `KEY` alone takes the caller's own value, and is left
 * out where the caller has none.
 * @throws USAGE
 */
export function parseEnv(entries: readonly string[], own: NodeJS.ProcessEnv): string[] {
  return entries.flatMap((entry) => {
    if (entry === '' || entry.startsWith('=')) {
      throw new DrayError('USAGE', `--env "${entry}" has no name`, {
        hint: 'Write --env KEY=VALUE.',
      });
    }
    if (entry.includes('=')) return [entry];
    const value = own[entry];
    return value === undefined ? [] : [`${entry}=${value}`];
  });
}

/**
 * The variables of a file of `--env-file`: a line each, as `--env` takes them and unquoted; empty lines and
 * those that begin with # do not count.
 * @throws USAGE naming the line
 */
export async function readEnvFile(file: string, own: NodeJS.ProcessEnv): Promise<string[]> {
  let text: string;
  try {
    // Loaded only where it is needed.
    const { readFile } = await import('node:fs/promises');
    text = await readFile(file, 'utf8');
  } catch (error) {
    throw new DrayError('USAGE', `--env-file ${file} can't be read: ${messageOf(error)}`, {
      cause: error,
    });
  }
  return text
    .replace(/^\uFEFF/, '')
    .split('\n')
    .flatMap((raw, index) => {
      const line = raw.replace(/\r$/, '').trimStart();
      if (line === '' || line.startsWith('#')) return [];
      const [name = ''] = line.split('=', 1);
      if (name === '' || /\s/.test(name)) {
        throw new DrayError('USAGE', `Line ${index + 1} of ${file} is not a variable`, {
          hint: 'A line is KEY=VALUE, or KEY for the value from here.',
        });
      }
      return parseEnv([line], own);
    });
}

/** The variables of `--env-file`, and those of `--env` behind them. @throws USAGE */
export async function environmentOf(
  flags: { env?: string[]; envFile?: string[] },
  own: NodeJS.ProcessEnv,
): Promise<string[]> {
  const files = await Promise.all((flags.envFile ?? []).map((file) => readEnvFile(file, own)));
  return [...files.flat(), ...parseEnv(flags.env ?? [], own)];
}

/** The folder of `--workdir`. @throws USAGE */
export function parseWorkdir(text: string): string {
  if (text.startsWith('/')) return text;
  throw new DrayError('USAGE', `--workdir "${text}" is not absolute`, {
    hint: `It is a folder of the container: --workdir /${text}`,
  });
}

/** `KEY=VALUE` pairs, where KEY alone has an empty value. @throws USAGE */
export function parsePairs(option: string, entries: readonly string[]): Record<string, string> {
  const pairs = entries.map((entry): [string, string] => {
    const [name = ''] = entry.split('=', 1);
    if (name !== '') return [name, entry.slice(name.length + 1)];
    throw new DrayError('USAGE', `${option} "${entry}" has no name`, {
      hint: `Write ${option} KEY=VALUE.`,
    });
  });
  return Object.fromEntries(pairs);
}
