import { readFile, stat } from 'node:fs/promises';
import { homedir } from 'node:os';
import path from 'node:path';
import { z } from 'zod';
import { DrayError, errnoOf } from '../../../shared/errors.ts';
import { defaultRegistry } from '../../../shared/image/reference.ts';

/** What a registry knows somebody by. */
export interface Credential {
  username: string;
  password: string;
}

/** Gives the credential for a registry (`host[:port]`, as references name it), if there is one. */
export type CredentialSource = (registry: string) => Promise<Credential | undefined>;

const maxFileBytes = 1024 * 1024;
const entrySchema = z.object({
  auth: z.string().optional(),
  username: z.string().optional(),
  password: z.string().optional(),
});
const fileSchema = z.object({ auths: z.record(z.string(), entrySchema).optional() });
type Entries = Map<string, z.infer<typeof entrySchema>>;

/** Names under which `docker login` and others keep Docker Hub's entry. */
const defaultRegistryNames = ['index.docker.io', 'docker.io', 'registry-1.docker.io'];

/**
 * Credentials from `auths` of $DOCKER_CONFIG/config.json, by default ~/.docker/config.json, which may be missing.
 * The file is read again when it has changed.
 * @throws USAGE when the file is there and can't be used; the message never holds any of its content
 */
export function createDockerCredentials(
  options: { env?: NodeJS.ProcessEnv } = {},
): CredentialSource {
  const folder = (options.env ?? process.env).DOCKER_CONFIG || path.join(homedir(), '.docker');
  const file = path.join(folder, 'config.json');
  let version = '';
  let entries: Entries = new Map();
  return async (registry) => {
    const now = await versionOf(file);
    if (now !== version) {
      entries = now === 'missing' ? new Map() : await readEntries(file);
      version = now;
    }
    const names = registry === defaultRegistry ? defaultRegistryNames : [registry.toLowerCase()];
    const name = names.find((candidate) => entries.has(candidate));
    return name === undefined ? undefined : decode(entries.get(name));
  };
}

async function versionOf(file: string): Promise<string> {
  try {
    const { mtimeMs, ctimeMs, size, ino } = await stat(file);
    return `${mtimeMs} ${ctimeMs} ${size} ${ino}`;
  } catch (error) {
    if (errnoOf(error) === 'ENOENT' || errnoOf(error) === 'ENOTDIR') return 'missing';
    throw unusable(file, `it can't be read (${errnoOf(error)})`);
  }
}

async function readEntries(file: string): Promise<Entries> {
  const bytes = await readFile(file).catch((error: unknown) => {
    throw unusable(file, `it can't be read (${errnoOf(error)})`);
  });
  if (bytes.length > maxFileBytes) throw unusable(file, 'it is too large');
  let document: unknown;
  try {
    document = JSON.parse(bytes.toString('utf8'));
  } catch {
    // The parser's own message quotes the file.
    throw unusable(file, 'it is not JSON');
  }
  const parsed = fileSchema.safeParse(document);
  if (!parsed.success)
    throw unusable(file, 'its "auths" have not the form that docker login writes');
  return new Map(
    Object.entries(parsed.data.auths ?? {}).flatMap(([key, entry]) => {
      const host = hostOf(key);
      return host === undefined ? [] : [[host, entry]];
    }),
  );
}

/** Keys are hosts, or URLs of a registry's API. Keys for a part of a registry are not those of the registry. */
function hostOf(key: string): string | undefined {
  return /^(?:https?:\/\/)?([^/]+)(?:\/v[12])?\/?$/.exec(key)?.[1]?.toLowerCase();
}

function decode(entry: z.infer<typeof entrySchema> | undefined): Credential | undefined {
  if (entry?.auth) {
    const text = Buffer.from(entry.auth, 'base64').toString('utf8').replace(/\0+$/, '');
    const colon = text.indexOf(':');
    if (colon > 0) return { username: text.slice(0, colon), password: text.slice(colon + 1) };
  }
  return entry?.username && entry.password !== undefined
    ? { username: entry.username, password: entry.password }
    : undefined;
}

function unusable(file: string, why: string): DrayError {
  return new DrayError('USAGE', `The credentials in ${file} can't be used: ${why}`, {
    hint: 'Mend the file, or name the folder of another one in DOCKER_CONFIG.',
  });
}
