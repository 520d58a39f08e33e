import { type Labels, parseLabels } from '../node/labels.ts';
import type { FileConfig } from './schema.ts';

/** The settings of the environment, and those of the file where it has none: not checked yet. */
export function settingsOf(env: NodeJS.ProcessEnv, file: FileConfig): object {
  return {
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
      inContainer: nonEmpty(env.DRAY_AGENT_IN_CONTAINER) ?? file.agent?.inContainer,
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
  };
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

/** What a variable says; an empty one says nothing. */
export function nonEmpty(value: string | undefined): string | undefined {
  return value === undefined || value === '' ? undefined : value;
}
