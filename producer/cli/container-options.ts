import { randomBytes } from 'node:crypto';
import type { MountRequest } from '../../shared/agent/containers.ts';
import { DrayError } from '../../shared/errors.ts';

/** An id for a container that was given none: twelve hex digits. */
export function randomID(): string {
  return randomBytes(6).toString('hex');
}

/** For an option that may stand several times. */
export function collect(value: string, before: string[] = []): string[] {
  return [...before, value];
}

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

const units: Record<string, number> = { '': 1, b: 1, k: 2 ** 10, m: 2 ** 20, g: 2 ** 30 };
const mountHint =
  'Write --mount type=bind,source=/on/the/node,target=/in/the/container[,readonly] or --mount type=tmpfs,target=/path[,tmpfs-size=64m].';

/**
 * Parses `--mount`, as docker writes it: `type=bind|tmpfs,source=…,target=…[,readonly][,tmpfs-size=…][,tmpfs-mode=…]`.
 * @throws USAGE
 */
export function parseMount(text: string): MountRequest {
  const refuse = (why: string): never => {
    throw new DrayError('USAGE', `--mount "${text}" ${why}`, { hint: mountHint });
  };
  const fields = new Map<string, string>();
  for (const part of text.split(',')) {
    const [name = '', ...rest] = part.split('=');
    const key = aliases[name] ?? name;
    if (!known.has(key)) refuse(`has an unknown part "${name}"`);
    if (fields.has(key)) refuse(`says ${key} twice`);
    fields.set(key, rest.length === 0 ? 'true' : rest.join('='));
  }
  const type = fields.get('type') ?? 'bind';
  const target = fields.get('target') ?? '';
  if (!target.startsWith('/')) refuse('needs an absolute target');
  const readonly = ['true', '1'].includes(fields.get('readonly') ?? '') ? { readonly: true } : {};
  if (type === 'bind') {
    const source = fields.get('source') ?? '';
    if (!source.startsWith('/')) refuse('needs an absolute source');
    if (fields.has('size') || fields.has('mode')) refuse('is no tmpfs');
    return { type, source, target, ...readonly };
  }
  if (type !== 'tmpfs') return refuse('has a type that is neither bind nor tmpfs');
  if (fields.has('source')) refuse('has a source, but a tmpfs has none');
  const [, digits, unit = ''] = /^(\d+)([bkmg]?)$/i.exec(fields.get('size') ?? '0') ?? [];
  const mode = fields.get('mode');
  if (digits === undefined) return refuse('has a size that is not a number of bytes, k, m or g');
  if (mode !== undefined && !/^[0-7]{1,4}$/.test(mode))
    return refuse('has a mode that is not octal');
  const size = Number(digits) * (units[unit.toLowerCase()] ?? 1);
  return {
    type,
    target,
    ...readonly,
    ...(size === 0 ? {} : { size }),
    ...(mode === undefined ? {} : { mode: Number.parseInt(mode, 8) }),
  };
}

const aliases: Record<string, string> = {
  src: 'source',
  dst: 'target',
  destination: 'target',
  ro: 'readonly',
  'tmpfs-size': 'size',
  'tmpfs-mode': 'mode',
};
const known = new Set(['type', 'source', 'target', 'readonly', 'size', 'mode']);
