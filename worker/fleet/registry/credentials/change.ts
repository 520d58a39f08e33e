import { randomBytes } from 'node:crypto';
import { chmod, mkdir, open, realpath, rename, rm, stat } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { DrayError, errnoOf } from '../../../../shared/errors.ts';
import { defaultRegistry } from '../../../../shared/image/reference.ts';
import { syncFolder } from '../../../../shared/sync-folder.ts';
import { fileVersion } from '../file-version.ts';
import { CredentialFile, hostNames, normalizeKey, readDocument } from './file.ts';
import type { CredentialHelpers } from './helper.ts';

interface Login {
  username: string;
  password: string;
}

/** Docker Hub's key, as docker login writes it. */
const defaultKey = 'https://index.docker.io/v1/';
/** Times that a change is made anew because another program changed the file meanwhile. */
const maxTries = 20;
const lockPollMs = 20;
const lockStaleMs = 10_000;

/**
 * Keeps a login in a credentials file, or with the helper that the file names for the registry. The rest of the file
 * stays as it is; the file is replaced at once, and only its owner can read it.
 * @returns where the login is now, for people
 * @throws USAGE when the file can't be used or written, and what helpers throw
 */
export async function saveLogin(
  file: string,
  registry: string,
  login: Login,
  helpers: CredentialHelpers,
): Promise<string> {
  const helper = await helperFor(file, registry);
  if (helper !== undefined) await helpers.store(helper, registry, login);
  const auth = Buffer.from(`${login.username}:${login.password}`).toString('base64');
  await changeAuths(file, (auths) => {
    const rest = withoutRegistry(auths, registry);
    // Beside a helper the entry says only that there is one, as Docker has it.
    return { ...rest, [keyOf(registry)]: helper === undefined ? { auth } : {} };
  });
  return helper === undefined ? file : `docker-credential-${helper}, which ${file} names`;
}

/** Takes a registry's login out of a file and of the helper that it names. @returns false when there was none */
export async function removeLogin(
  file: string,
  registry: string,
  helpers: CredentialHelpers,
): Promise<boolean> {
  const helper = await helperFor(file, registry);
  const erased = helper !== undefined && (await helpers.erase(helper, registry));
  if ((await fileVersion(file)) === 'missing') return erased;
  let removed = false;
  await changeAuths(file, (auths) => {
    const rest = withoutRegistry(auths, registry);
    removed = Object.keys(rest).length < Object.keys(auths).length;
    return removed ? rest : undefined;
  });
  return erased || removed;
}

/** The helper that has, or would have, the login of a registry. */
async function helperFor(file: string, registry: string): Promise<string | undefined> {
  const found = await new CredentialFile(file).find({ registry });
  if (found !== undefined && 'helper' in found) return found.helper;
  const { credsStore } = (await readDocument(file)) ?? {};
  return typeof credsStore === 'string' && credsStore !== '' ? credsStore : undefined;
}

function keyOf(registry: string): string {
  return registry === defaultRegistry ? defaultKey : registry;
}

function withoutRegistry(auths: Record<string, unknown>, registry: string) {
  const names = hostNames(registry);
  return Object.fromEntries(
    Object.entries(auths).filter(([key]) => !names.includes(normalizeKey(key) ?? '')),
  );
}

/** @param change undefined: nothing has to be written */
async function changeAuths(
  file: string,
  change: (auths: Record<string, unknown>) => Record<string, unknown> | undefined,
): Promise<void> {
  try {
    await mkdir(path.dirname(file), { recursive: true, mode: 0o700 });
    // A link stays one: what it leads to is replaced.
    const target = await realpath(file).catch(() => file);
    await using _lock = await lock(target);
    for (let tries = 1; ; tries++) {
      const version = await fileVersion(target);
      const document = (await readDocument(target)) ?? {};
      const auths = change({ ...(document.auths as Record<string, unknown> | undefined) });
      if (auths === undefined) return;
      const text = `${JSON.stringify({ ...document, auths }, null, '\t')}\n`;
      if (await replace(target, text, version)) return;
      if (tries === maxTries) throw unwritable(file, 'another program keeps changing it');
    }
  } catch (error) {
    if (error instanceof DrayError) throw error;
    throw unwritable(file, errnoOf(error) ?? 'unknown error');
  }
}

/**
 * Keeps other logins of this program from the file; what other programs do to it is seen by its version.
 * A lock that was left behind ends some time.
 */
async function lock(file: string): Promise<AsyncDisposable> {
  const place = `${file}.lock`;
  for (let waited = 0; ; waited += lockPollMs) {
    try {
      await (await open(place, 'wx', 0o600)).close();
      return { [Symbol.asyncDispose]: async () => await rm(place, { force: true }) };
    } catch (error) {
      if (errnoOf(error) !== 'EEXIST') throw error;
    }
    const held = await stat(place).catch(() => undefined);
    if (held !== undefined && Date.now() - held.mtimeMs > lockStaleMs) {
      await rm(place, { force: true });
    }
    if (waited > 2 * lockStaleMs) throw unwritable(file, `${place} is held by another login`);
    await sleep(lockPollMs);
  }
}

/** @returns false when the file is not of the version any more */
async function replace(file: string, text: string, version: string): Promise<boolean> {
  const fresh = `${file}.${randomBytes(6).toString('hex')}`;
  try {
    {
      await using handle = await open(fresh, 'wx', 0o600);
      const before = await stat(file).catch(() => undefined);
      // Root, who logs in for another user, does not take the file away from him.
      if (before !== undefined && process.getuid?.() === 0) {
        await handle.chown(before.uid, before.gid);
      }
      await handle.writeFile(text);
      await handle.sync();
    }
    await chmod(fresh, 0o600);
    if ((await fileVersion(file)) !== version) return false;
    await rename(fresh, file);
    await syncFolder(path.dirname(file));
    return true;
  } finally {
    await rm(fresh, { force: true });
  }
}

function unwritable(file: string, why: string): DrayError {
  return new DrayError('USAGE', `The credentials file ${file} can't be written: ${why}`, {
    hint: 'Name another one in REGISTRY_AUTH_FILE, or the folder of one in DOCKER_CONFIG.',
  });
}
