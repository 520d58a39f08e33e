import { hash, randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { chown, open, readFile, rename, rm, stat } from 'node:fs/promises';
import path from 'node:path';
import { z } from 'zod';
import { DrayError, errnoOf, messageOf } from '../errors.ts';
import { syncFolder } from '../sync-folder.ts';

/** What a token allows. `admin` includes the others, and `pull` and `run` include `read`. */
export const scopes = ['read', 'pull', 'run', 'admin'] as const;
export type Scope = (typeof scopes)[number];

/** A token as it is kept: by its digest, so that who reads the file can't use it. */
export interface TokenRecord {
  name: string;
  /** `sha256:` and the digest of the token. The token is 256 random bits, which no dictionary has. */
  digest: string;
  scopes: Scope[];
  createdAt: Date;
  expiresAt?: Date;
}

const fileSchema = z.strictObject({
  tokens: z.array(
    z.strictObject({
      name: z.string().min(1).max(100),
      digest: z.string().regex(/^sha256:[0-9a-f]{64}$/),
      scopes: z.array(z.enum(scopes)).min(1),
      createdAt: z.coerce.date(),
      expiresAt: z.coerce.date().optional(),
    }),
  ),
});

const prefix = 'dray_';
/** Milliseconds for which the file is not looked at again. */
const lookInterval = 1_000;
/** Milliseconds in which others are done with the file. */
const lockBound = 10_000;

/**
 * The tokens of a file, which is read again when it changes: one that is made counts at once, and one that is removed
 * from it opens nothing a second later. Where there has been a file, nobody gets in without a token any more, also when
 * the file is removed.
 */
export class TokenFile {
  readonly #file: string;
  #isThere: boolean;
  #byDigest = new Map<string, TokenRecord>();
  /** Those of them that were shown since the file was read, by themselves: a digest takes longer than a look. */
  #byToken = new Map<string, TokenRecord>();
  #read = { at: Number.NEGATIVE_INFINITY, version: '' };
  #looking: Promise<void> | undefined;

  constructor(file: string) {
    this.#file = file;
    this.#isThere = existsSync(file);
  }

  /** Whether callers need a token: once there is, or was, a file. */
  get isThere(): boolean {
    this.#isThere ||= existsSync(this.#file);
    return this.#isThere;
  }

  /**
   * Who a token belongs to.
   * @param missing makes the error of who has no token where one is needed
   * @returns undefined where none is needed
   * @throws UNAUTHORIZED for one that is unknown or has expired
   */
  async identify(
    token: string | undefined,
    missing: () => DrayError,
  ): Promise<TokenRecord | undefined> {
    if (!this.isThere) return undefined;
    if (token === undefined) throw missing();
    if (performance.now() - this.#read.at >= lookInterval) await this.#look();
    let record = this.#byToken.get(token);
    if (record === undefined) {
      const digest = digestOfToken(token);
      // It may have been made just now.
      if (!this.#byDigest.has(digest)) await this.#look();
      record = this.#byDigest.get(digest);
      if (record !== undefined) this.#byToken.set(token, record);
    }
    if (record === undefined) {
      throw unauthorized(
        'The token is not known here',
        'Make one with: dray token create NAME --scope read',
      );
    }
    if (record.expiresAt !== undefined && record.expiresAt.getTime() <= Date.now()) {
      throw unauthorized(
        `The token ${record.name} expired at ${record.expiresAt.toISOString()}`,
        'Make a new one with: dray token create NAME --scope read',
      );
    }
    return record;
  }

  /** One look for all who ask meanwhile. */
  async #look(): Promise<void> {
    this.#looking ??= this.#refresh().finally(() => {
      this.#looking = undefined;
    });
    await this.#looking;
  }

  async #refresh(): Promise<void> {
    const at = performance.now();
    const info = await stat(this.#file, { bigint: true }).catch((error: unknown) => {
      if (errnoOf(error) === 'ENOENT') return undefined;
      throw unreadable(this.#file, error);
    });
    const version = info === undefined ? 'none' : `${info.ino} ${info.mtimeNs} ${info.size}`;
    if (version !== this.#read.version) {
      const records = info === undefined ? [] : await readTokens(this.#file);
      this.#byDigest = new Map(records.map((record) => [record.digest, record]));
      this.#byToken = new Map();
    }
    this.#read = { at, version };
  }
}

/** @throws USAGE when the file is not readable, or none of ours */
export async function readTokens(file: string): Promise<TokenRecord[]> {
  let text: string;
  try {
    text = await readFile(file, 'utf8');
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return [];
    throw unreadable(file, error);
  }
  try {
    return fileSchema.parse(JSON.parse(text)).tokens.map(({ expiresAt, ...token }) => ({
      ...token,
      ...(expiresAt === undefined ? {} : { expiresAt }),
    }));
  } catch (error) {
    throw unreadable(file, error);
  }
}

/**
 * Makes a token and adds its record to the file.
 * @returns the token itself, which is nowhere else
 * @throws CONFLICT when the name is taken
 */
export async function createToken(
  file: string,
  request: { name: string; scopes: Scope[]; expiresAt?: Date },
): Promise<string> {
  const token = `${prefix}${randomBytes(32).toString('base64url')}`;
  const record: TokenRecord = { ...request, digest: digestOfToken(token), createdAt: new Date() };
  await changeTokens(file, (records) => {
    if (records.some(({ name }) => name === request.name)) {
      throw new DrayError('CONFLICT', `${file} has a token ${request.name} already`, {
        hint: `Remove it first: dray token rm ${request.name}`,
      });
    }
    return [...records, record];
  });
  return token;
}

/** @throws NOT_FOUND */
export async function removeToken(file: string, name: string): Promise<void> {
  await changeTokens(file, (records) => {
    const kept = records.filter((record) => record.name !== name);
    if (kept.length < records.length) return kept;
    throw new DrayError('NOT_FOUND', `${file} has no token ${name}`, {
      hint: 'dray token ls lists them.',
    });
  });
}

export function allows(record: Pick<TokenRecord, 'scopes'>, scope: Scope): boolean {
  return (
    record.scopes.includes('admin') ||
    record.scopes.includes(scope) ||
    (scope === 'read' && record.scopes.length > 0)
  );
}

/** One change after the other, of whatever process. */
async function changeTokens(
  file: string,
  change: (records: readonly TokenRecord[]) => TokenRecord[],
): Promise<void> {
  const temporary = `${file}.new`;
  try {
    const { acquireLock } = await import('../lock.ts');
    using _lock = await acquireLock(`${file}.lock`, { boundMs: lockBound });
    const tokens = change(await readTokens(file));
    // What a change that died has left may have other rights.
    await rm(temporary, { force: true });
    await using written = await open(temporary, 'wx', 0o600);
    await written.writeFile(`${JSON.stringify({ tokens }, undefined, 2)}\n`);
    await giveToFolder(temporary);
    // A token that was told removed is so after a power cut, too.
    await written.sync();
    await rename(temporary, file);
    await syncFolder(path.dirname(file));
  } catch (error) {
    if (error instanceof DrayError) throw error;
    throw new DrayError('USAGE', `The tokens ${file} can't be written: ${messageOf(error)}`, {
      hint: 'Set DRAY_API_TOKENS to a file in a folder that can be written.',
      cause: error,
    });
  }
}

/** Root makes tokens for an API that runs as somebody else, and has to read them: whose the folder is. */
async function giveToFolder(file: string): Promise<void> {
  if (process.getuid?.() !== 0) return;
  const { uid, gid } = await stat(path.dirname(file));
  await chown(file, uid, gid);
}

function digestOfToken(token: string): string {
  return `sha256:${hash('sha256', token)}`;
}

export function unauthorized(message: string, hint: string): DrayError {
  return new DrayError('UNAUTHORIZED', message, { hint });
}

function unreadable(file: string, error: unknown): DrayError {
  return new DrayError('USAGE', `The tokens ${file} can't be read: ${messageOf(error)}`, {
    hint: 'Check DRAY_API_TOKENS, the rights of the file, and that dray token wrote it.',
    cause: error,
  });
}
