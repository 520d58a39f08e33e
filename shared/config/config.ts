import type { NetworkMode } from '../agent/run-options.ts';
import type { StoreConfig } from '../content/open.ts';
import type { GcConfig } from '../gc/settings.ts';
import type { Labels } from '../node/labels.ts';
import type { RedisTarget } from '../queue/address.ts';

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
    /** It runs in a container of somebody else's, with whose control group it ends. */
    inContainer: boolean;
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

export const logLevels = ['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent'] as const;
export type LogLevel = (typeof logLevels)[number];
