import { homedir } from 'node:os';
import path from 'node:path';
import { DrayError } from '../../../../shared/errors.ts';
import { parseCredentialName } from '../../../../shared/registry/credential-name.ts';
import { fileVersion } from '../file-version.ts';
import type {
  Credential,
  CredentialOptions,
  CredentialQuery,
  CredentialSource,
} from './credential.ts';
import { CredentialFile } from './file.ts';
import { CredentialHelpers } from './helper.ts';

export interface CredentialPlaces {
  env?: NodeJS.ProcessEnv;
  /** Where the credentials are that pulls name. */
  folder?: string;
  helpers?: CredentialHelpers;
}

/**
 * Credentials in the order that registry tools share: the one that the pull names, then REGISTRY_AUTH_FILE,
 * DOCKER_CONFIG/config.json (default ~/.docker), then the containers tools' auth.json. The first of the files that
 * has one for the registry counts. Files are read again when they change.
 * @throws NOT_FOUND for a name that this worker does not have; USAGE for files, and what helpers throw
 */
export function createCredentials(places: CredentialPlaces = {}): CredentialSource {
  const { env = process.env, folder, helpers = new CredentialHelpers({ env }) } = places;
  const files = credentialFiles(env).map((file) => new CredentialFile(file));
  const named = new Map<string, CredentialFile>();
  return async (query, options = {}) => {
    if (query.name === undefined) return await firstOf(files, query, options, helpers);
    const file = await fileOfName(query.name, folder);
    let known = named.get(file);
    if (known === undefined) {
      known = new CredentialFile(file);
      named.set(file, known);
    }
    return await firstOf([known], query, options, helpers);
  };
}

/** Where logins are looked for, in order. */
export function credentialFiles(env: NodeJS.ProcessEnv): string[] {
  const home = env.HOME || homedir();
  const runtime = env.XDG_RUNTIME_DIR
    ? path.join(env.XDG_RUNTIME_DIR, 'containers')
    : `/run/containers/${process.getuid?.() ?? 0}`;
  return [
    ...(env.REGISTRY_AUTH_FILE ? [env.REGISTRY_AUTH_FILE] : []),
    path.join(env.DOCKER_CONFIG || path.join(home, '.docker'), 'config.json'),
    path.join(runtime, 'auth.json'),
    path.join(env.XDG_CONFIG_HOME || path.join(home, '.config'), 'containers', 'auth.json'),
  ];
}

async function firstOf(
  files: CredentialFile[],
  query: CredentialQuery,
  options: CredentialOptions,
  helpers: CredentialHelpers,
): Promise<Credential | undefined> {
  for (const file of files) {
    const found = await file.find(query);
    if (found === undefined) continue;
    if ('credential' in found) return found.credential;
    const credential = await helpers.get(found.helper, query.registry, options);
    if (credential !== undefined) {
      return { ...credential, from: `docker-credential-${found.helper} (${file.path})` };
    }
  }
  return undefined;
}

/** `NAME.json`, or the folder of a mounted Secret: `NAME/.dockerconfigjson` or `NAME/config.json`. */
async function fileOfName(text: string, folder: string | undefined): Promise<string> {
  const name = parseCredentialName(text);
  const candidates =
    folder === undefined
      ? []
      : [`${name}.json`, `${name}/.dockerconfigjson`, `${name}/config.json`].map((file) =>
          path.join(folder, file),
        );
  for (const file of candidates) {
    if ((await fileVersion(file).catch(() => 'missing')) !== 'missing') return file;
  }
  throw new DrayError('NOT_FOUND', `This worker has no credential of the name "${name}"`, {
    hint:
      folder === undefined
        ? 'Set DRAY_CREDENTIALS on the workers to the folder that has it.'
        : `Put it on each worker as ${candidates[0]}, in the form of Docker's config.json, or mount a Secret at ${path.join(folder, name)}.`,
  });
}
