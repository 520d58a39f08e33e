import path from 'node:path';
import { parse, type TomlTable } from 'smol-toml';
import { z } from 'zod';
import { DrayError, messageOf } from '../../../../shared/errors.ts';

export type Capability = 'pull' | 'resolve' | 'push';

/** One host of a hosts.toml (containerd's docs/hosts.md), with its files still to be read. */
export interface HostEntry {
  /** Undefined for the registry's own host, where the file has no `server`. */
  url: URL | undefined;
  capabilities: readonly Capability[];
  /** Absolute paths. */
  ca: string[];
  /** Absolute paths; a certificate without a key holds the key as well. */
  client: { cert: string; key: string | undefined }[];
  skipVerify: boolean;
  headers: Record<string, string[]>;
  connectMs: number | undefined;
}

const allCapabilities: readonly Capability[] = ['pull', 'resolve', 'push'];
const text = z.string().min(1);
const hostSchema = z.object({
  capabilities: z.array(z.enum(['pull', 'resolve', 'push', 'referrers'])).optional(),
  ca: z.union([text, z.array(text)]).optional(),
  client: z.union([text, z.array(z.union([text, z.array(z.string()).min(1).max(2)]))]).optional(),
  skip_verify: z.boolean().optional(),
  header: z.record(z.string(), z.union([z.string(), z.array(z.string())])).optional(),
  override_path: z.boolean().optional(),
  dial_timeout: z.string().optional(),
});
const fileSchema = hostSchema.extend({
  server: z.string().optional(),
  host: z.record(z.string(), hostSchema).optional(),
});

/** What the client itself sets, or what would end the request's own meaning. */
const reservedHeaders =
  /^(?:host|content-length|transfer-encoding|connection|keep-alive|upgrade|expect|proxy-.*|te|trailer)$/i;

/**
 * Parses a hosts.toml: its hosts in the file's order, at last the registry's own.
 * @param file its path, from whose folder relative paths count
 * @throws USAGE
 */
export function parseHostsToml(source: string, file: string): HostEntry[] {
  const folder = path.dirname(file);
  let document: TomlTable;
  try {
    document = parse(source);
  } catch (error) {
    // Its first line says what and where; the rest quotes the file.
    const [why = ''] = messageOf(error).split('\n');
    throw unusable(file, `it is not TOML: ${why}`);
  }
  const parsed = fileSchema.safeParse(document);
  if (!parsed.success) {
    const [issue] = parsed.error.issues;
    throw unusable(file, `${issue?.path.join('.') ?? ''}: ${issue?.message ?? ''}`);
  }
  const { host = {}, server, ...own } = parsed.data;
  const entries = Object.entries(host).map(([name, settings]) =>
    toEntry(name, settings, file, folder),
  );
  return [...entries, toEntry(server || undefined, own, file, folder)];
}

/** A host without any settings: the registry's own. */
export function plainHost(): HostEntry {
  return {
    ...{ url: undefined, capabilities: allCapabilities, ca: [], client: [] },
    ...{ skipVerify: false, headers: {}, connectMs: undefined },
  };
}

export function unusable(file: string, why: string): DrayError {
  return new DrayError('USAGE', `The registry configuration ${file} can't be used: ${why}`, {
    hint: "Mend it on the workers; its form is containerd's hosts.toml.",
  });
}

function toEntry(
  name: string | undefined,
  settings: z.infer<typeof hostSchema>,
  file: string,
  folder: string,
): HostEntry {
  const absolute = (place: string) => path.resolve(folder, place);
  const { ca = [], client = [], capabilities = [], header = {} } = settings;
  const known = capabilities.filter((capability) => capability !== 'referrers');
  return {
    url: name === undefined ? undefined : toUrl(name, settings.override_path ?? false, file),
    capabilities: capabilities.length === 0 ? allCapabilities : known,
    ca: [ca].flat().map(absolute),
    client: (typeof client === 'string' ? [client] : client).map((pair) => {
      const [cert = '', key = ''] = [pair].flat();
      return { cert: absolute(cert), key: key === '' ? undefined : absolute(key) };
    }),
    skipVerify: settings.skip_verify ?? false,
    headers: checkedHeaders(header, file),
    connectMs:
      settings.dial_timeout === undefined ? undefined : durationMs(settings.dial_timeout, file),
  };
}

/** The API's root: the path as it is with `override_path`, else one that ends in /v2. */
function toUrl(name: string, overridePath: boolean, file: string): URL {
  const url = URL.parse(/^https?:\/\//.test(name) ? name : `https://${name}`);
  if (url === null || url.username !== '' || url.password !== '') {
    throw unusable(file, 'the name of a host in it is no address');
  }
  const cleaned = path.posix.normalize(url.pathname).replace(/\/+$/, '');
  url.pathname = overridePath || cleaned.endsWith('/v2') ? cleaned : `${cleaned}/v2`;
  url.search = '';
  url.hash = '';
  return url;
}

function checkedHeaders(
  header: Record<string, string | string[]>,
  file: string,
): Record<string, string[]> {
  return Object.fromEntries(
    Object.entries(header).map(([name, value]) => {
      const values = [value].flat();
      const isClean = values.every((one) => !/[^\t\x20-\x7e\x80-\xff]/.test(one));
      if (!/^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/.test(name) || !isClean || reservedHeaders.test(name)) {
        // The value may be a secret.
        throw unusable(file, `the header "${name.slice(0, 50)}" can't be sent`);
      }
      return [name.toLowerCase(), values];
    }),
  );
}

const unitMs: Record<string, number> = { ms: 1, s: 1000, m: 60_000, h: 3600_000 };

/** A duration as Go writes it, of milliseconds and longer. */
function durationMs(written: string, file: string): number {
  const parts = [...written.matchAll(/(\d+(?:\.\d+)?)(ms|s|m|h)/g)];
  const ms = parts.reduce((sum, [, n, unit = '']) => sum + Number(n) * (unitMs[unit] ?? 0), 0);
  if (parts.map(([whole]) => whole).join('') === written && ms >= 1) {
    return Math.min(Math.ceil(ms), 600_000);
  }
  throw unusable(file, `dial_timeout "${written.slice(0, 50)}" is no duration, as 10s is one`);
}
