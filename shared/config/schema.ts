import { z } from 'zod';
import { networkModes } from '../agent/run-options.ts';
import { durationSchema } from '../duration-schema.ts';
import { DrayError } from '../errors.ts';
import { gcSchema } from '../gc/settings-schema.ts';
import { logLevels } from './config.ts';
import { nodeNameForm } from './texts.ts';

const nodeName = z.string().regex(nodeNameForm, 'lower-case letters, digits, "-" and "."');
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
      inContainer: flag.optional(),
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

/** What can be set, as the file has it. */
export type FileConfig = z.infer<typeof fileSchema>;
export type ApiTls = NonNullable<NonNullable<FileConfig['api']>['tls']>;

/** @param source where the settings stand, for the message @throws USAGE naming the setting and what it may be */
export function checkSettings(document: unknown, source: string): FileConfig {
  const result = fileSchema.safeParse(document);
  if (result.success) return result.data;
  const [issue] = result.error.issues;
  throw new DrayError(
    'USAGE',
    `The setting ${issue?.path.join('.') ?? ''} in ${source} is not valid: ${issue?.message ?? ''}`,
    { hint: 'The settings are listed in README.md, under Configuration.' },
  );
}
