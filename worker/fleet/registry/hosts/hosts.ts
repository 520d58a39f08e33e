import { readdir, readFile, stat } from 'node:fs/promises';
import path from 'node:path';
import { errnoOf } from '../../../../shared/errors.ts';
import { fileVersion } from '../file-version.ts';
import type { TlsSettings } from '../tls.ts';
import { type HostEntry, parseHostsToml, plainHost, unusable } from './hosts-toml.ts';

const maxFileBytes = 1024 * 1024;

/** A host with everything that it takes to speak to it. */
export interface ConfiguredHost
  extends Omit<HostEntry, 'ca' | 'client' | 'skipVerify' | 'connectMs'> {
  tls: TlsSettings | undefined;
}

interface Known {
  /** Of each file that was read, and of those that were looked for. */
  versions: Map<string, string>;
  hosts: ConfiguredHost[];
}

/**
 * The settings of registries in containerd's layout: `ROOT/HOST/hosts.toml`, `ROOT/_default/hosts.toml`, or, as
 * Docker has it, certificates alone (`ROOT/HOST/*.crt`, `*.cert` with `*.key`). Read again when they change.
 */
export class RegistryHosts {
  readonly #roots: readonly string[];
  /** By folder: there are no more of these than the operator made, whatever registries are asked for. */
  readonly #known = new Map<string, Known>();

  /** @param roots in order: the first that has a folder for the registry counts */
  constructor(roots: readonly string[]) {
    this.#roots = roots;
  }

  /** The hosts of a registry in order, its own at last; undefined when nothing is configured. @throws USAGE */
  async find(registry: string): Promise<ConfiguredHost[] | undefined> {
    const folder = await this.#folderOf(registry);
    if (folder === undefined) return undefined;
    const known = this.#known.get(folder);
    if (known !== undefined && (await isCurrent(known))) return known.hosts;
    const versions = new Map<string, string>();
    const hosts = await readHosts(folder, versions);
    this.#known.set(folder, { versions, hosts });
    return hosts;
  }

  async #folderOf(registry: string): Promise<string | undefined> {
    // A name that leads out of the roots is nobody's: registries have neither slashes nor dots alone.
    if (/[/\0]/.test(registry) || /^\.*$/.test(registry)) return undefined;
    const port = /^(.+):(\d+)$/.exec(registry);
    const names = [...(port === null ? [] : [`${port[1]}_${port[2]}_`]), registry, '_default'];
    for (const root of this.#roots) {
      for (const name of names) {
        const folder = path.join(root, name);
        if (await isFolder(folder)) return folder;
      }
    }
    return undefined;
  }
}

async function isCurrent({ versions }: Known): Promise<boolean> {
  for (const [file, version] of versions) {
    if ((await fileVersion(file).catch(() => 'unreadable')) !== version) return false;
  }
  return true;
}

async function readHosts(folder: string, versions: Map<string, string>): Promise<ConfiguredHost[]> {
  const file = path.join(folder, 'hosts.toml');
  const read = async (name: string) => {
    versions.set(name, await fileVersion(name).catch(() => 'unreadable'));
    return await readText(name);
  };
  // New files in the folder change its version.
  versions.set(folder, await fileVersion(folder).catch(() => 'unreadable'));
  const source = await read(file);
  const entries =
    source === undefined ? [await certificatesOf(folder)] : parseHostsToml(source, file);
  const must = async (name: string) => {
    const content = await read(name);
    if (content === undefined) throw unusable(file, `${name} is not there`);
    return content;
  };
  return await Promise.all(
    entries.map(async ({ ca, client, skipVerify, connectMs, ...entry }) => {
      const tls: TlsSettings = {
        ...(ca.length === 0 ? {} : { ca: await Promise.all(ca.map(must)) }),
        ...(client.length === 0
          ? {}
          : {
              client: await Promise.all(
                client.map(async ({ cert, key }) => ({
                  cert: await must(cert),
                  key: await must(key ?? cert),
                })),
              ),
            }),
        ...(skipVerify ? { skipVerify } : {}),
        ...(connectMs === undefined ? {} : { connectMs }),
      };
      return { ...entry, tls: Object.keys(tls).length === 0 ? undefined : tls };
    }),
  );
}

/** Docker's layout: authorities in `*.crt`, our own certificates in `*.cert` with `*.key` beside them. */
async function certificatesOf(folder: string): Promise<HostEntry> {
  const names = (await readdir(folder)).sort();
  const inFolder = (name: string) => path.join(folder, name);
  return {
    ...plainHost(),
    ca: names.filter((name) => name.endsWith('.crt')).map(inFolder),
    client: names
      .filter((name) => name.endsWith('.cert'))
      .map((name) => ({
        cert: inFolder(name),
        key: inFolder(name.replace(/\.cert$/, '.key')),
      })),
  };
}

async function readText(file: string): Promise<string | undefined> {
  try {
    const { size } = await stat(file);
    if (size > maxFileBytes) throw unusable(file, 'it is too large');
    return await readFile(file, 'utf8');
  } catch (error) {
    const errno = errnoOf(error);
    if (errno === 'ENOENT' || errno === 'ENOTDIR') return undefined;
    throw errno?.startsWith('E') ? unusable(file, `it can't be read (${errno})`) : error;
  }
}

async function isFolder(place: string): Promise<boolean> {
  return await stat(place).then(
    (found) => found.isDirectory(),
    () => false,
  );
}
