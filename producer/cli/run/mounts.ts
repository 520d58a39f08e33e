import { resolve } from 'node:path';
import type {
  BindMountRequest,
  MountRequest,
  TmpfsMountRequest,
  VolumeMountRequest,
} from '../../../shared/agent/run-options.ts';
import { DrayError } from '../../../shared/errors.ts';
import { parseBytes, parseWhole } from './quantities.ts';

const mountHint =
  'Write --mount type=bind,source=/on/the/node,target=/in/the/container[,readonly], type=volume[,source=NAME],target=/path or type=tmpfs,target=/path[,tmpfs-size=64m].';

const aliases: Record<string, string> = {
  src: 'source',
  dst: 'target',
  destination: 'target',
  ro: 'readonly',
  'tmpfs-size': 'size',
  'tmpfs-mode': 'mode',
};
const known = new Set(['type', 'source', 'target', 'readonly', 'size', 'mode']);

/**
 * Parses `--mount`, as docker writes it:
 * `type=bind|volume|tmpfs,source=…,target=…[,readonly][,tmpfs-size=…][,tmpfs-mode=…]`.
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
  // A source that is a path can only be a bind.
  const source = fields.get('source');
  const type = fields.get('type') ?? (source?.startsWith('/') === true ? 'bind' : 'volume');
  const target = fields.get('target') ?? '';
  if (!target.startsWith('/')) refuse('needs an absolute target');
  const readonly = ['true', '1'].includes(fields.get('readonly') ?? '') ? { readonly: true } : {};
  if (type !== 'tmpfs' && (fields.has('size') || fields.has('mode'))) refuse('is no tmpfs');
  if (type === 'bind') {
    if (source?.startsWith('/') !== true) return refuse('needs an absolute source');
    return { type, source, target, ...readonly };
  }
  if (type === 'volume') {
    if (source?.includes('/') === true) refuse('has a path for the name of a volume');
    return { type, ...(source === undefined ? {} : { source }), target, ...readonly };
  }
  if (type !== 'tmpfs') return refuse('has a type that is none of bind, volume and tmpfs');
  if (source !== undefined) refuse('has a source, but a tmpfs has none');
  const size = fields.get('size');
  const mode = fields.get('mode');
  if (mode !== undefined && !/^[0-7]{1,4}$/.test(mode)) refuse('has a mode that is not octal');
  return { type, target, ...readonly, ...tmpfsOf('--mount type=tmpfs,tmpfs-size=', size, mode) };
}

/** The largest id of a user or group. */
const mostID = 2 ** 32 - 2;

/** Modes that people write for docker, and that ask for nothing here: labels of SELinux, and macOS. */
const needless = new Set(['z', 'Z', 'cached', 'consistent', 'delegated']);

/**
 * Parses `--volume`: `[SOURCE:]TARGET[:ro|rw]`, where SOURCE is a path of the node or the name of a volume,
 * and without it the volume goes with the container.
 * @throws USAGE
 */
export function parseVolume(text: string): BindMountRequest | VolumeMountRequest {
  const refuse = (why: string): never => {
    throw new DrayError('USAGE', `--volume "${text}" ${why}`, {
      hint: 'Write --volume /on/the/node:/in/the/container[:ro], or NAME:/in/the/container.',
    });
  };
  const parts = text.split(':');
  const modes = parts.length === 3 ? (parts.pop() ?? '').split(',') : [];
  const unknown = modes.find((mode) => !['ro', 'rw'].includes(mode) && !needless.has(mode));
  if (unknown !== undefined) refuse(`has an unknown mode "${unknown}"`);
  const [target = '', given] = parts.toReversed();
  // As a shell has it, a path that begins with a dot starts here.
  const source = given !== undefined && /^\.{1,2}(\/|$)/.test(given) ? resolve(given) : given;
  if (parts.length > 2 || !target.startsWith('/'))
    refuse('needs an absolute path behind the colon');
  const readonly = modes.includes('ro') ? { readonly: true } : {};
  if (source === undefined) return { type: 'volume', target, ...readonly };
  if (source.startsWith('/')) return { type: 'bind', source, target, ...readonly };
  if (source === '' || source.includes('/')) refuse('has neither an absolute path nor a name');
  return { type: 'volume', source, target, ...readonly };
}

/** Parses `--tmpfs`: `TARGET[:size=…,mode=…,uid=…,gid=…,ro,exec]`. @throws USAGE */
export function parseTmpfs(text: string): TmpfsMountRequest {
  const [target = '', rest = ''] = text.split(/:(.*)/s);
  const refuse = (why: string): never => {
    throw new DrayError('USAGE', `--tmpfs "${text}" ${why}`, {
      hint: 'Write --tmpfs /path[:size=64m,mode=1777,uid=1000,gid=1000,ro,exec].',
    });
  };
  if (!target.startsWith('/')) refuse('needs an absolute path');
  const flags = new Set<string>();
  const values = new Map<string, string>();
  for (const part of rest.split(',').filter((option) => option !== '')) {
    const [name = '', value] = part.split('=');
    if (value !== undefined && ['size', 'mode', 'uid', 'gid'].includes(name))
      values.set(name, value);
    // What a tmpfs has here anyway, as people write it for docker.
    else if (['ro', 'rw', 'exec', 'noexec', 'nosuid', 'nodev'].includes(part)) flags.add(part);
    else refuse(`has an unknown part "${part}"`);
  }
  const mode = values.get('mode');
  if (mode !== undefined && !/^[0-7]{1,4}$/.test(mode)) refuse('has a mode that is not octal');
  const owner = (name: 'uid' | 'gid') => {
    const id = values.get(name);
    return id === undefined
      ? {}
      : { [name]: parseWhole(`${name} of --tmpfs`, id, { most: mostID }) };
  };
  return {
    type: 'tmpfs',
    target,
    ...owner('uid'),
    ...owner('gid'),
    ...(flags.has('ro') ? { readonly: true } : {}),
    ...(flags.has('exec') ? { exec: true } : {}),
    ...tmpfsOf(`--tmpfs ${target}:size=`, values.get('size'), mode),
  };
}

function tmpfsOf(
  what: string,
  size: string | undefined,
  mode: string | undefined,
): Pick<TmpfsMountRequest, 'size' | 'mode'> {
  const bytes = size === undefined ? 0 : parseBytes(what, size);
  return {
    ...(bytes === 0 ? {} : { size: bytes }),
    ...(mode === undefined ? {} : { mode: Number.parseInt(mode, 8) }),
  };
}
