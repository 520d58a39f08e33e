import { readFileSync } from 'node:fs';
import { hostname } from 'node:os';
import path from 'node:path';
import { z } from 'zod';
import { type NetworkMode, networkModes } from './agent/run-options.ts';
import type { StoreConfig } from './content/open.ts';
import { parseDuration } from './duration.ts';
import { durationSchema } from './duration-schema.ts';
import { DrayError, errnoOf, messageOf } from './errors.ts';
import { type GcConfig, gcConfig, gcSchema } from './gc/settings.ts';
import { checkLabels, type Labels, parseLabels } from './node/labels.ts';
import { parseRedisUrl, type RedisTarget } from './queue/address.ts';

/** Everything that can be set, resolved. Environment beats file beats default. */
export interface Config {
  /** Where this machine keeps drayage's files. */
  stateDirectory: string;
  /** No Redis was configured: the commands use the private fleet in the state folder. */
  embedded: boolean;
  redis: RedisTarget;
  store: StoreConfig;
  worker: {
    /** Blobs that one worker fetches at once. */
    fetches: number;
    /** References that one worker resolves at once. */
    resolves: number;
  };
  agent: {
    /** The node's name in the fleet. */
    node: string;
    /** What selectors choose it by. */
    labels: Labels;
    /** Snapshots, containers and the node's database. */
    root: string;
    /** The agent's local socket. */
    socket: string;
    /** Layers that are applied at once. */
    applyThreads: number;
    /** What one layer may cost; what is not set has the agent's default. */
    limits: LayerLimitsConfig;
    network: NodeNetworkConfig;
    /** Where it can be reached from other machines; undefined: only by its socket. */
    remote: AgentRemoteConfig | undefined;
  };
  /** How this machine shows itself to the agents of others. Paths of files. */
  nodes: {
    /** Authorities of the agents' certificates; undefined: those of the system. */
    authority: string | undefined;
    /** A certificate and its key, for agents that want one. */
    client: { cert: string; key: string } | undefined;
    /** Holds a token. */
    token: string | undefined;
  };
  registries: {
    /** `host[:port]` that are spoken to by plain http. Loopback ones fall back to it unasked. */
    plainHttp: string[];
    /** `host[:port]` that may stand at, and redirect to, loopback and private addresses. Those in plainHttp may too. */
    allowPrivate: string[];
    /** Folder of the credentials that pulls name. */
    credentials: string;
    /** Folders of registries' settings in containerd's layout (`HOST/hosts.toml`), in order. */
    hosts: string[];
    /** By registry: hosts besides its own that its logins may be shown to for a token. */
    tokenHosts: Record<string, string[]>;
    /** Milliseconds for which a registry's word counts that a login may have what the store has of a repository. */
    verifiedForMs: number;
  };
  api: {
    /** `host:port` where the HTTP API listens. */
    listen: string;
    /** The file of the API's tokens. */
    tokens: string;
    /** Requests that one caller may send in a second. */
    rate: number;
    /** Files for https; undefined: plain http. With `clientAuthority`, clients must show a certificate of it. */
    tls: { cert: string; key: string; clientAuthority?: string } | undefined;
  };
  webhooks: {
    /** The file of the key that they are signed with. */
    key: string;
    /** `host[:port]` that may stand at loopback and private addresses. */
    allowPrivate: string[];
  };
  metrics: {
    /** `host:port` where the program serves its metrics and health; undefined: nowhere. */
    listen: string | undefined;
  };
  traces: {
    /** The URL that traces are sent to (OTLP over HTTP); undefined: there are none. */
    endpoint: string | undefined;
  };
  /** When content, names and snapshots go that nobody needs. */
  gc: GcConfig;
  log: { level: LogLevel };
}

export interface AgentRemoteConfig {
  /** `host:port`, spoken to by https only. */
  listen: string;
  /** `host:port` that others are told; undefined: that of `listen`, or the host's name. */
  advertise: string | undefined;
  tls: NonNullable<Config['api']['tls']>;
}

/** The networks of a node's containers. */
export interface NodeNetworkConfig {
  /** Of containers that ask for none; undefined: bridge where the node has what it takes, else host. */
  default: NetworkMode | undefined;
  /** The name of the bridge's device. */
  bridge: string;
  /** IPv4, in CIDR notation; its first address is the bridge's. */
  subnet: string;
  /** Folders of CNI plugins, in order. */
  plugins: string[];
}

/** Caps on a layer, which is an attacker's input. */
export interface LayerLimitsConfig {
  /** Uncompressed bytes of the archive, and the length of any one file. */
  maxBytes?: number;
  /** Uncompressed to compressed. */
  maxRatio?: number;
  maxEntries?: number;
  /** Folders within each other. */
  maxDepth?: number;
  /** Bytes of the paths that are kept in memory. */
  maxPathBytes?: number;
  /** Bytes of one extended header. */
  maxHeaderBytes?: number;
  /** Milliseconds without any progress. */
  idleTimeoutMs?: number;
}

const logLevels = ['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent'] as const;
export type LogLevel = (typeof logLevels)[number];

const nodeName = z
  .string()
  .regex(/^[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?$/, 'lower-case letters, digits, "-" and "."');
const count = z.coerce.number().int().min(1).max(1000);
const address = z.string().regex(/^(\[[0-9a-fA-F:]+\]|[^\s:[\]]+):\d{1,5}$/, 'HOST:PORT');
const absolutePath = z.string().startsWith('/');
const flag = z.union([
  z.boolean(),
  z.enum(['true', 'false', '1', '0']).transform((v) => v === 'true' || v === '1'),
]);

const atLeast = (least: number, most = Number.MAX_SAFE_INTEGER) =>
  z.number().int().min(least).max(most).optional();
const limitsSchema = z.strictObject({
  maxBytes: atLeast(1),
  maxRatio: z.number().min(1).max(1_000_000).optional(),
  maxEntries: atLeast(1),
  // A path has at most 4095 bytes.
  maxDepth: atLeast(1, 2048),
  maxPathBytes: atLeast(4096, 2 ** 30),
  maxHeaderBytes: atLeast(1024, 2 ** 28),
  idleTimeoutMs: atLeast(1000, 24 * 60 * 60 * 1000),
});

const networkSchema = z.strictObject({
  default: z.enum(networkModes).optional(),
  /** IFNAMSIZ of linux/if.h, with its NUL. */
  bridge: z
    .string()
    .regex(/^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,14}$/, 'a name of up to 15 letters and digits')
    .optional(),
  subnet: z
    .cidrv4()
    .refine((cidr) => Number(cidr.split('/')[1]) <= 29, 'a network with room, as 10.66.0.0/16')
    .optional(),
  plugins: z.array(z.string().startsWith('/')).optional(),
});

const tlsSchema = z.strictObject({
  cert: absolutePath.optional(),
  key: absolutePath.optional(),
  clientAuthority: absolutePath.optional(),
});

const fileSchema = z.strictObject({
  stateDirectory: z.string().startsWith('/').optional(),
  redis: z
    .strictObject({
      url: z.string().optional(),
      prefix: z.string().min(1).max(64).optional(),
      username: z.string().min(1).optional(),
      passwordFile: absolutePath.optional(),
      sentinelUsername: z.string().min(1).optional(),
      sentinelPasswordFile: absolutePath.optional(),
      tls: z
        .strictObject({
          ca: absolutePath.optional(),
          certificate: absolutePath.optional(),
          key: absolutePath.optional(),
          serverName: z.string().min(1).optional(),
        })
        .optional(),
    })
    .optional(),
  /** `folder:/path`, or `s3://bucket[/prefix]`. */
  store: z.string().optional(),
  s3: z
    .strictObject({
      endpoint: z.url().optional(),
      region: z.string().optional(),
      forcePathStyle: flag.optional(),
    })
    .optional(),
  worker: z.strictObject({ fetches: count.optional(), resolves: count.optional() }).optional(),
  agent: z
    .strictObject({
      node: nodeName.optional(),
      labels: z.record(z.string(), z.string()).optional(),
      root: z.string().startsWith('/').optional(),
      socket: z.string().startsWith('/').optional(),
      applyThreads: count.optional(),
      limits: limitsSchema.optional(),
      listen: address.optional(),
      advertise: address.optional(),
      tls: tlsSchema.optional(),
      network: networkSchema.optional(),
    })
    .optional(),
  nodes: z
    .strictObject({
      authority: absolutePath.optional(),
      cert: absolutePath.optional(),
      key: absolutePath.optional(),
      token: absolutePath.optional(),
    })
    .optional(),
  registries: z
    .strictObject({
      plainHttp: z.array(z.string()).optional(),
      allowPrivate: z.array(z.string()).optional(),
      credentials: z.string().startsWith('/').optional(),
      hosts: z.array(z.string().startsWith('/')).optional(),
      tokenHosts: z.record(z.string(), z.array(z.string())).optional(),
      verifiedFor: durationSchema.optional(),
    })
    .optional(),
  api: z
    .strictObject({
      listen: address.optional(),
      tokens: z.string().startsWith('/').optional(),
      rate: z.coerce.number().int().min(1).max(1_000_000).optional(),
      tls: tlsSchema.optional(),
    })
    .optional(),
  webhooks: z
    .strictObject({
      key: z.string().startsWith('/').optional(),
      allowPrivate: z.array(z.string()).optional(),
    })
    .optional(),
  metrics: z.strictObject({ listen: address.optional() }).optional(),
  /** A collector, as OTEL_EXPORTER_OTLP_ENDPOINT names it: `/v1/traces` is added. */
  traces: z.strictObject({ endpoint: z.url({ protocol: /^https?$/ }).optional() }).optional(),
  gc: gcSchema.optional(),
  log: z.strictObject({ level: z.enum(logLevels).optional() }).optional(),
});

type FileConfig = z.infer<typeof fileSchema>;
type ApiTls = NonNullable<NonNullable<FileConfig['api']>['tls']>;

/** A node whose containerd or Docker is configured for its registries needs nothing more. */
const defaultHosts = ['drayage', 'containerd', 'docker'].map((name) => `/etc/${name}/certs.d`);

/** Where distributions and the plugins' own releases put them. */
const defaultPlugins = ['/opt/cni/bin', '/usr/lib/cni', '/usr/libexec/cni'];

export const defaultConfigFile = '/etc/drayage/config.json';

/**
 * Reads the configuration: the file named by DRAY_CONFIG (default /etc/drayage/config.json, which may be
 * missing), then the environment. README.md has the table.
 * @throws USAGE naming the setting and what it may be
 */
export function loadConfig(options: { env?: NodeJS.ProcessEnv; file?: string } = {}): Config {
  const env = options.env ?? process.env;
  const named = options.file ?? nonEmpty(env.DRAY_CONFIG);
  const file = readConfigFile(named ?? defaultConfigFile, named !== undefined);
  const merged = parse(
    {
      stateDirectory: nonEmpty(env.DRAY_STATE) ?? file.stateDirectory,
      redis: {
        url: nonEmpty(env.REDIS_URL) ?? file.redis?.url,
        prefix: nonEmpty(env.DRAY_REDIS_PREFIX) ?? file.redis?.prefix,
        username: nonEmpty(env.DRAY_REDIS_USERNAME) ?? file.redis?.username,
        passwordFile: nonEmpty(env.DRAY_REDIS_PASSWORD_FILE) ?? file.redis?.passwordFile,
        sentinelUsername: file.redis?.sentinelUsername,
        sentinelPasswordFile:
          nonEmpty(env.DRAY_REDIS_SENTINEL_PASSWORD_FILE) ?? file.redis?.sentinelPasswordFile,
        tls: {
          ca: nonEmpty(env.DRAY_REDIS_CA) ?? file.redis?.tls?.ca,
          certificate: nonEmpty(env.DRAY_REDIS_CERT) ?? file.redis?.tls?.certificate,
          key: nonEmpty(env.DRAY_REDIS_KEY) ?? file.redis?.tls?.key,
          serverName: file.redis?.tls?.serverName,
        },
      },
      store: nonEmpty(env.DRAY_STORE) ?? file.store,
      s3: {
        endpoint:
          nonEmpty(env.AWS_ENDPOINT_URL_S3) ?? nonEmpty(env.AWS_ENDPOINT_URL) ?? file.s3?.endpoint,
        region: nonEmpty(env.AWS_REGION) ?? file.s3?.region,
        forcePathStyle: nonEmpty(env.DRAY_S3_PATH_STYLE) ?? file.s3?.forcePathStyle,
      },
      worker: {
        fetches: nonEmpty(env.DRAY_WORKER_FETCHES) ?? file.worker?.fetches,
        resolves: nonEmpty(env.DRAY_WORKER_RESOLVES) ?? file.worker?.resolves,
      },
      agent: {
        node: nonEmpty(env.DRAY_NODE) ?? file.agent?.node,
        labels: labelsOf(env.DRAY_LABELS) ?? file.agent?.labels,
        root: nonEmpty(env.DRAY_AGENT_ROOT) ?? file.agent?.root,
        socket: nonEmpty(env.DRAY_AGENT_SOCKET) ?? file.agent?.socket,
        applyThreads: nonEmpty(env.DRAY_APPLY_THREADS) ?? file.agent?.applyThreads,
        limits: file.agent?.limits,
        listen: nonEmpty(env.DRAY_AGENT_LISTEN) ?? file.agent?.listen,
        advertise: nonEmpty(env.DRAY_AGENT_ADVERTISE) ?? file.agent?.advertise,
        tls: {
          cert: nonEmpty(env.DRAY_AGENT_TLS_CERT) ?? file.agent?.tls?.cert,
          key: nonEmpty(env.DRAY_AGENT_TLS_KEY) ?? file.agent?.tls?.key,
          clientAuthority: nonEmpty(env.DRAY_AGENT_CLIENT_CA) ?? file.agent?.tls?.clientAuthority,
        },
        network: {
          default: nonEmpty(env.DRAY_NETWORK) ?? file.agent?.network?.default,
          bridge: nonEmpty(env.DRAY_BRIDGE) ?? file.agent?.network?.bridge,
          subnet: nonEmpty(env.DRAY_SUBNET) ?? file.agent?.network?.subnet,
          plugins: nonEmpty(env.DRAY_CNI_PATH)?.split(':') ?? file.agent?.network?.plugins,
        },
      },
      nodes: {
        authority: nonEmpty(env.DRAY_NODES_CA) ?? file.nodes?.authority,
        cert: nonEmpty(env.DRAY_NODES_CERT) ?? file.nodes?.cert,
        key: nonEmpty(env.DRAY_NODES_KEY) ?? file.nodes?.key,
        token: nonEmpty(env.DRAY_NODES_TOKEN) ?? file.nodes?.token,
      },
      registries: {
        plainHttp:
          nonEmpty(env.DRAY_PLAIN_HTTP)
            ?.split(',')
            .map((host) => host.trim()) ?? file.registries?.plainHttp,
        allowPrivate:
          nonEmpty(env.DRAY_ALLOW_PRIVATE)
            ?.split(',')
            .map((host) => host.trim()) ?? file.registries?.allowPrivate,
        credentials: nonEmpty(env.DRAY_CREDENTIALS) ?? file.registries?.credentials,
        hosts: nonEmpty(env.DRAY_REGISTRY_HOSTS)?.split(':') ?? file.registries?.hosts,
        tokenHosts: tokenHosts(env.DRAY_TOKEN_HOSTS) ?? file.registries?.tokenHosts,
        verifiedFor: nonEmpty(env.DRAY_VERIFIED_FOR) ?? file.registries?.verifiedFor,
      },
      api: {
        listen: nonEmpty(env.DRAY_API_LISTEN) ?? file.api?.listen,
        tokens: nonEmpty(env.DRAY_API_TOKENS) ?? file.api?.tokens,
        rate: nonEmpty(env.DRAY_API_RATE) ?? file.api?.rate,
        tls: {
          cert: nonEmpty(env.DRAY_API_TLS_CERT) ?? file.api?.tls?.cert,
          key: nonEmpty(env.DRAY_API_TLS_KEY) ?? file.api?.tls?.key,
          clientAuthority: nonEmpty(env.DRAY_API_CLIENT_CA) ?? file.api?.tls?.clientAuthority,
        },
      },
      webhooks: {
        key: nonEmpty(env.DRAY_WEBHOOK_KEY) ?? file.webhooks?.key,
        allowPrivate:
          nonEmpty(env.DRAY_WEBHOOK_PRIVATE)
            ?.split(',')
            .map((host) => host.trim()) ?? file.webhooks?.allowPrivate,
      },
      metrics: { listen: nonEmpty(env.DRAY_METRICS_LISTEN) ?? file.metrics?.listen },
      traces: { endpoint: nonEmpty(env.OTEL_EXPORTER_OTLP_ENDPOINT) ?? file.traces?.endpoint },
      gc: file.gc,
      log: { level: nonEmpty(env.DRAY_LOG_LEVEL) ?? file.log?.level },
    },
    'the environment',
  );
  const stateDirectory = path.resolve(merged.stateDirectory ?? '/var/lib/drayage');
  const redisUrl = merged.redis?.url;
  const socket = path.join(stateDirectory, 'redis', 'redis.sock');
  return {
    stateDirectory,
    embedded: redisUrl === undefined || redisUrl === `unix://${socket}`,
    redis: redisTarget(merged.redis ?? {}, `unix://${socket}`),
    store: storeConfig(merged, stateDirectory),
    worker: { fetches: merged.worker?.fetches ?? 4, resolves: merged.worker?.resolves ?? 8 },
    agent: {
      node: merged.agent?.node ?? defaultNodeName(),
      labels: checkLabels(merged.agent?.labels ?? {}),
      root: merged.agent?.root ?? path.join(stateDirectory, 'node'),
      socket: merged.agent?.socket ?? path.join(stateDirectory, 'run', 'agent.sock'),
      applyThreads: merged.agent?.applyThreads ?? 2,
      limits: definedOnly(merged.agent?.limits ?? {}),
      network: {
        default: merged.agent?.network?.default,
        bridge: merged.agent?.network?.bridge ?? 'dray0',
        subnet: merged.agent?.network?.subnet ?? '10.66.0.0/16',
        plugins: merged.agent?.network?.plugins ?? defaultPlugins,
      },
      remote: agentRemote(merged.agent ?? {}),
    },
    nodes: nodesClient(merged.nodes ?? {}),
    registries: {
      plainHttp: merged.registries?.plainHttp ?? [],
      allowPrivate: merged.registries?.allowPrivate ?? [],
      credentials: merged.registries?.credentials ?? '/etc/drayage/credentials',
      hosts: merged.registries?.hosts ?? defaultHosts,
      tokenHosts: merged.registries?.tokenHosts ?? {},
      verifiedForMs: parseDuration(merged.registries?.verifiedFor ?? '24h') ?? 86_400_000,
    },
    api: {
      listen: merged.api?.listen ?? '127.0.0.1:7070',
      tokens: merged.api?.tokens ?? path.join(stateDirectory, 'tokens.json'),
      rate: merged.api?.rate ?? 1_000,
      tls: tlsFiles('API', merged.api?.tls ?? {}),
    },
    webhooks: {
      key: merged.webhooks?.key ?? '/etc/drayage/webhook.key',
      allowPrivate: merged.webhooks?.allowPrivate ?? [],
    },
    metrics: { listen: merged.metrics?.listen },
    traces: { endpoint: tracesEndpoint(env, merged) },
    gc: gcConfig(merged.gc),
    log: { level: merged.log?.level ?? 'info' },
  };
}

/** @throws USAGE for a URL that can't be read, or a Cluster without a hash tag */
/** As OpenTelemetry's own variables have it (opentelemetry-specification, protocol/exporter.md). */
function tracesEndpoint(env: NodeJS.ProcessEnv, { traces }: FileConfig): string | undefined {
  if (env.OTEL_SDK_DISABLED === 'true' || env.OTEL_TRACES_EXPORTER === 'none') return undefined;
  const own = nonEmpty(env.OTEL_EXPORTER_OTLP_TRACES_ENDPOINT);
  if (own !== undefined || traces?.endpoint === undefined) return own;
  return `${traces.endpoint.replace(/\/$/, '')}/v1/traces`;
}

function redisTarget(settings: NonNullable<FileConfig['redis']>, embedded: string): RedisTarget {
  const { url = embedded, prefix = '{dray}', tls = {}, ...credentials } = settings;
  const { kind } = parseRedisUrl(url);
  if (kind === 'cluster' && !/\{[^}]+\}/.test(prefix)) {
    throw new DrayError('USAGE', `The prefix "${prefix}" would spread the keys over a Cluster`, {
      hint: `Scripts need theirs on one node: set DRAY_REDIS_PREFIX to {${prefix}}, with the braces.`,
    });
  }
  return { url, prefix, tls, ...credentials };
}

function storeConfig(merged: FileConfig, stateDirectory: string): StoreConfig {
  const text = merged.store ?? `folder:${path.join(stateDirectory, 'content')}`;
  if (text.startsWith('folder:')) return { kind: 'folder', path: text.slice('folder:'.length) };
  const match = /^s3:\/\/([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])(?:\/(.*))?$/.exec(text);
  const bucket = match?.[1];
  if (bucket === undefined) {
    throw new DrayError('USAGE', `The store "${text}" is neither a folder nor a bucket`, {
      hint: 'Set DRAY_STORE to folder:/some/path or s3://bucket/prefix.',
    });
  }
  const prefix = match?.[2] ?? '';
  const { endpoint, region, forcePathStyle } = merged.s3 ?? {};
  return {
    kind: 's3',
    bucket,
    prefix: prefix === '' || prefix.endsWith('/') ? prefix : `${prefix}/`,
    ...(endpoint === undefined ? {} : { endpoint }),
    ...(region === undefined ? {} : { region }),
    forcePathStyle: forcePathStyle ?? endpoint !== undefined,
  };
}

/** @throws USAGE where an agent would listen without https */
function agentRemote({
  listen,
  advertise,
  tls,
}: NonNullable<FileConfig['agent']>): Config['agent']['remote'] {
  const files = tlsFiles('AGENT', tls ?? {});
  if (listen === undefined) return undefined;
  if (files !== undefined) return { listen, advertise, tls: files };
  throw new DrayError('USAGE', `The agent has no certificate to listen on ${listen} with`, {
    hint: 'Set DRAY_AGENT_TLS_CERT and DRAY_AGENT_TLS_KEY to the files of a certificate for the name of the node.',
  });
}

function nodesClient({
  authority,
  cert,
  key,
  token,
}: NonNullable<FileConfig['nodes']>): Config['nodes'] {
  if ((cert === undefined) !== (key === undefined)) {
    throw new DrayError('USAGE', 'A certificate for agents needs its key', {
      hint: 'Set DRAY_NODES_CERT and DRAY_NODES_KEY to their files.',
    });
  }
  const client = cert === undefined || key === undefined ? undefined : { cert, key };
  return { authority, client, token };
}

function tlsFiles(
  whose: 'API' | 'AGENT',
  { cert, key, clientAuthority }: ApiTls,
): Config['api']['tls'] {
  if (cert !== undefined && key !== undefined) {
    return { cert, key, ...(clientAuthority === undefined ? {} : { clientAuthority }) };
  }
  if (cert === undefined && key === undefined && clientAuthority === undefined) return undefined;
  throw new DrayError('USAGE', 'For https both a certificate and its key are needed', {
    hint: `Set DRAY_${whose}_TLS_CERT and DRAY_${whose}_TLS_KEY to their files.`,
  });
}

function readConfigFile(file: string, mustExist: boolean): FileConfig {
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (error) {
    if (!mustExist && errnoOf(error) === 'ENOENT') return {};
    throw new DrayError('USAGE', `The configuration ${file} can't be read: ${messageOf(error)}`, {
      hint: 'Check DRAY_CONFIG and the rights of the file.',
      cause: error,
    });
  }
  let document: unknown;
  try {
    document = JSON.parse(text);
  } catch (error) {
    throw new DrayError('USAGE', `The configuration ${file} is not JSON: ${messageOf(error)}`, {
      cause: error,
    });
  }
  return parse(document, file);
}

function parse(document: unknown, source: string): FileConfig {
  const result = fileSchema.safeParse(document);
  if (result.success) return result.data;
  const [issue] = result.error.issues;
  throw new DrayError(
    'USAGE',
    `The setting ${issue?.path.join('.') ?? ''} in ${source} is not valid: ${issue?.message ?? ''}`,
    { hint: 'The settings are listed in README.md, under Configuration.' },
  );
}

/** The host's name, made to fit a node's. */
function defaultNodeName(): string {
  const name = hostname()
    .toLowerCase()
    .replaceAll(/[^a-z0-9.-]/g, '-')
    .slice(0, 63);
  const trimmed = name.replaceAll(/^[^a-z0-9]+|[^a-z0-9]+$/g, '');
  return trimmed === '' ? 'local' : trimmed;
}

/** `registry=host,…`; a registry may stand several times. */
function tokenHosts(text: string | undefined): Record<string, string[]> | undefined {
  if (nonEmpty(text) === undefined) return undefined;
  const hosts: Record<string, string[]> = {};
  for (const pair of (text ?? '').split(',')) {
    const [registry = '', host = ''] = pair.split('=').map((part) => part.trim());
    hosts[registry] = [...(hosts[registry] ?? []), host];
  }
  return hosts;
}

/** `key=value,…` */
function labelsOf(text: string | undefined): Labels | undefined {
  const set = nonEmpty(text);
  return set === undefined ? undefined : parseLabels(set);
}

function definedOnly(limits: z.infer<typeof limitsSchema>): LayerLimitsConfig {
  return Object.fromEntries(Object.entries(limits).filter(([, value]) => value !== undefined));
}

function nonEmpty(value: string | undefined): string | undefined {
  return value === undefined || value === '' ? undefined : value;
}
