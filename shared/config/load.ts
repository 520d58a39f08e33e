import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { hostname } from 'node:os';
import path from 'node:path';
import type { StoreConfig } from '../content/open.ts';
import { parseDuration } from '../duration.ts';
import { DrayError, errnoOf, messageOf } from '../errors.ts';
import { gcConfig } from '../gc/settings.ts';
import { checkLabels } from '../node/labels.ts';
import { parseRedisUrl, type RedisTarget } from '../queue/address.ts';
import type { Config, LayerLimitsConfig } from './config.ts';
import { nonEmpty, settingsOf } from './environment.ts';
import type { ApiTls, FileConfig } from './schema.ts';
import { areRightTexts } from './texts.ts';

/** A node whose containerd or Docker is configured for its registries needs nothing more. */
const defaultHosts = ['drayage', 'containerd', 'docker'].map((name) => `/etc/${name}/certs.d`);

/** Where distributions and the plugins' own releases put them. */
const defaultPlugins = ['/opt/cni/bin', '/usr/lib/cni', '/usr/libexec/cni'];

const require = createRequire(import.meta.url);

const defaultConfigFile = '/etc/drayage/config.json';

/**
 * Reads the configuration: the file named by DRAY_CONFIG (default /etc/drayage/config.json, which may be
 * missing), then the environment. README.md has the table.
 * @throws USAGE naming the setting and what it may be
 */
export function loadConfig(options: { env?: NodeJS.ProcessEnv; file?: string } = {}): Config {
  const env = options.env ?? process.env;
  const named = options.file ?? nonEmpty(env.DRAY_CONFIG);
  const file = readConfigFile(named ?? defaultConfigFile, named !== undefined);
  const settings = settingsOf(env, file);
  const merged = checkSettings(onlySet(settings), 'the environment');
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
      inContainer: merged.agent?.inContainer ?? false,
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

/** Loads the schema only where it is needed. */
function checkSettings(settings: unknown, source: string): FileConfig {
  if (areRightTexts(settings)) return settings as FileConfig;
  const schema = require('./schema.ts') as typeof import('./schema.ts');
  return schema.checkSettings(settings, source);
}

/** Without sections in which nothing is set. */
function onlySet(settings: object): object {
  const set = Object.entries(settings).flatMap(([name, value]: [string, unknown]) => {
    const isSection = typeof value === 'object' && value !== null && !Array.isArray(value);
    const kept = isSection ? onlySet(value) : value;
    const isEmpty = isSection && Object.keys(kept as object).length === 0;
    return kept === undefined || isEmpty ? [] : [[name, kept] as const];
  });
  return Object.fromEntries(set);
}

/** As OpenTelemetry's own variables have it (opentelemetry-specification, protocol/exporter.md). */
function tracesEndpoint(env: NodeJS.ProcessEnv, { traces }: FileConfig): string | undefined {
  if (env.OTEL_SDK_DISABLED === 'true' || env.OTEL_TRACES_EXPORTER === 'none') return undefined;
  const own = nonEmpty(env.OTEL_EXPORTER_OTLP_TRACES_ENDPOINT);
  if (own !== undefined || traces?.endpoint === undefined) return own;
  return `${traces.endpoint.replace(/\/$/, '')}/v1/traces`;
}

/** @throws USAGE for a URL that can't be read, or a Cluster without a hash tag */
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
  return checkSettings(document, file);
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

function definedOnly(
  limits: NonNullable<NonNullable<FileConfig['agent']>['limits']>,
): LayerLimitsConfig {
  return Object.fromEntries(Object.entries(limits).filter(([, value]) => value !== undefined));
}
