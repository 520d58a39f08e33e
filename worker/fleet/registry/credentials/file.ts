import { readFile } from 'node:fs/promises';
import { z } from 'zod';
import { DrayError, errnoOf } from '../../../../shared/errors.ts';
import { defaultRegistry } from '../../../../shared/image/reference.ts';
import { fileVersion } from '../file-version.ts';
import type { Credential, CredentialQuery } from './credential.ts';

/** What a file says of a registry: a credential, or the helper program that has it. */
export type Found = { credential: Credential } | { helper: string };

const maxFileBytes = 1024 * 1024;
const entrySchema = z.object({
  auth: z.string().optional(),
  username: z.string().optional(),
  password: z.string().optional(),
  identitytoken: z.string().optional(),
  registrytoken: z.string().optional(),
});
/** What becomes part of a program's name. */
const helperName = z.string().regex(/^[A-Za-z0-9][A-Za-z0-9._-]*$/);
const fileSchema = z.object({
  auths: z.record(z.string(), entrySchema).optional(),
  credHelpers: z.record(z.string(), helperName).optional(),
  credsStore: z.union([helperName, z.literal('')]).optional(),
});

interface Content {
  auths: Map<string, z.infer<typeof entrySchema>>;
  helpers: Map<string, string>;
  store: string | undefined;
}

/** Names under which `docker login` and others keep Docker Hub's entry. */
const defaultRegistryNames = ['index.docker.io', 'docker.io', 'registry-1.docker.io'];

/**
 * A file of the form of Docker's config.json and the containers tools' auth.json. It may be missing, and is read
 * again when it has changed.
 */
export class CredentialFile {
  readonly path: string;
  #version = '';
  #content: Content = nothing();

  constructor(path: string) {
    this.path = path;
  }

  /**
   * What it has for a registry, in this order: `credHelpers`, `auths` (the entry of a part of the registry before
   * that of the whole), `credsStore`.
   * @throws USAGE when the file is there and can't be used; the message never holds any of its content
   */
  async find({ registry, repository }: CredentialQuery): Promise<Found | undefined> {
    const { auths, helpers, store } = await this.#read();
    const hosts = hostNames(registry);
    const helper = hosts.map((host) => helpers.get(host)).find((name) => name !== undefined);
    if (helper !== undefined) return { helper };
    for (const key of keysFor(hosts, repository)) {
      const credential = decode(auths.get(key));
      if (credential !== undefined) return { credential: { ...credential, from: this.path } };
    }
    return store === undefined ? undefined : { helper: store };
  }

  async #read(): Promise<Content> {
    let version: string;
    try {
      version = await fileVersion(this.path);
    } catch (error) {
      throw unusable(this.path, `it can't be read (${errnoOf(error)})`);
    }
    if (version !== this.#version) {
      this.#content = version === 'missing' ? nothing() : await readContent(this.path);
      this.#version = version;
    }
    return this.#content;
  }
}

/** The JSON of such a file; undefined when there is none. @throws USAGE, without any of its content */
export async function readDocument(file: string): Promise<Record<string, unknown> | undefined> {
  let bytes: Buffer;
  try {
    bytes = await readFile(file);
  } catch (error) {
    if (errnoOf(error) === 'ENOENT' || errnoOf(error) === 'ENOTDIR') return undefined;
    throw unusable(file, `it can't be read (${errnoOf(error)})`);
  }
  if (bytes.length > maxFileBytes) throw unusable(file, 'it is too large');
  // An empty file is what some tools begin with.
  if (bytes.toString('utf8').trim() === '') return {};
  let document: unknown;
  try {
    document = JSON.parse(bytes.toString('utf8'));
  } catch {
    // The parser's own message quotes the file.
    throw unusable(file, 'it is not JSON');
  }
  if (!fileSchema.safeParse(document).success) {
    throw unusable(file, 'it does not have the form that docker login writes');
  }
  return document as Record<string, unknown>;
}

/** The names by which a registry may be listed. */
export function hostNames(registry: string): string[] {
  return registry === defaultRegistry ? defaultRegistryNames : [registry.toLowerCase()];
}

/** `host[/part…]` of a key, which may be the URL of a registry's API. */
export function normalizeKey(key: string): string | undefined {
  const match = /^(?:https?:\/\/)?([^/]+)(\/.*)?$/.exec(key);
  const host = match?.[1]?.toLowerCase();
  if (host === undefined) return undefined;
  const part = (match?.[2] ?? '').replace(/\/+$/, '');
  return /^\/v[12]$/.test(part) ? host : host + part;
}

async function readContent(file: string): Promise<Content> {
  const document = fileSchema.parse((await readDocument(file)) ?? {});
  const byKey = <T>(record: Record<string, T> = {}) =>
    new Map(
      Object.entries(record).flatMap(([key, value]): [string, T][] => {
        const normalized = normalizeKey(key);
        return normalized === undefined ? [] : [[normalized, value]];
      }),
    );
  return {
    auths: byKey(document.auths),
    helpers: byKey(document.credHelpers),
    store: document.credsStore || undefined,
  };
}

function nothing(): Content {
  return { auths: new Map(), helpers: new Map(), store: undefined };
}

/** From the most special to the most general, as containers-auth.json(5) has it. */
function keysFor(hosts: string[], repository = ''): string[] {
  const parts = repository === '' ? [] : repository.split('/');
  const keys: string[] = [];
  for (let length = parts.length; length >= 0; length--) {
    keys.push(...hosts.map((host) => [host, ...parts.slice(0, length)].join('/')));
  }
  return keys;
}

function decode(entry: z.infer<typeof entrySchema> | undefined): Credential | undefined {
  if (entry?.registrytoken) return { registryToken: entry.registrytoken };
  if (entry?.identitytoken) return { identityToken: entry.identitytoken };
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
    hint: 'Mend the file, or name another one in REGISTRY_AUTH_FILE, or the folder of one in DOCKER_CONFIG.',
  });
}
