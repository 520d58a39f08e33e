import { z } from 'zod';
import { domainName, exposedPort, networkModes } from './run-options.ts';

const maxText = 4096;
export const path = z.string().min(1).max(maxText);
const text = z.string().max(maxText);
const name = z.string().min(1).max(256);
const readonly = z.boolean().optional();
const int = (least: number, most = Number.MAX_SAFE_INTEGER) =>
  z.number().int().min(least).max(most);
const few = <T extends z.ZodType>(schema: T) => z.array(schema).max(1000).optional();
/** Milliseconds that a timer can wait. */
const time = int(0, 2 ** 31 - 1).optional();
/** What is too large for a kernel to take is told from what is too large for a request by the spec's own limits. */
export const strings = z.array(z.string()).max(100_000);
const pairs = z
  .record(z.string().min(1).max(maxText), z.string().max(64 * 1024))
  .refine((value) => Object.keys(value).length <= 1000, 'too many')
  .optional();
const port = int(1, 65_535);
/** Of a user or group. */
const id = int(0, 2 ** 32 - 2);

export const terminalSize = z.strictObject({ columns: int(0, 65_535), rows: int(0, 65_535) });

const mount = z.discriminatedUnion('type', [
  z.strictObject({ type: z.literal('bind'), source: path, target: path, readonly }),
  z.strictObject({ type: z.literal('volume'), source: name.optional(), target: path, readonly }),
  z.strictObject({
    type: z.literal('tmpfs'),
    target: path,
    readonly,
    size: int(1).optional(),
    mode: int(0, 0o7777).optional(),
    exec: z.boolean().optional(),
    uid: id.optional(),
    gid: id.optional(),
  }),
]);

const resources = z.strictObject({
  cpus: z.number().min(0.01).max(100_000).optional(),
  cpuShares: int(2, 262_144).optional(),
  cpuset: name.optional(),
  memory: int(1).optional(),
  memorySwap: int(-1).optional(),
  pids: int(-1).optional(),
  shmSize: int(1).optional(),
});

/** The form of {@link RunOptions} in a request; what the values mean is checked where they are used. */
export const runOptions = z.strictObject({
  entrypoint: strings.optional(),
  args: strings.optional(),
  env: strings.optional(),
  workingDirectory: path.optional(),
  user: text.optional(),
  groups: few(name),
  mounts: few(mount),
  network: z.enum(networkModes).optional(),
  ports: few(
    z.strictObject({
      hostIP: z.union([z.ipv4(), z.ipv6()]).optional(),
      hostPort: port.optional(),
      containerPort: port,
      protocol: z.enum(['tcp', 'udp', 'sctp']),
    }),
  ),
  expose: few(z.string().regex(exposedPort)),
  publishAll: z.boolean().optional(),
  hostname: z.string().max(64).optional(),
  hosts: few(name),
  dns: few(z.union([z.ipv4(), z.ipv6()])),
  dnsSearch: few(z.string().regex(domainName)),
  labels: pairs,
  terminal: z.boolean().optional(),
  stdin: z.boolean().optional(),
  stdinOnce: z.boolean().optional(),
  terminalSize: terminalSize.optional(),
  readOnly: z.boolean().optional(),
  resources: resources.optional(),
  ulimits: few(z.strictObject({ name, soft: int(-1), hard: int(-1) })),
  capAdd: few(name),
  capDrop: few(name),
  security: z
    .strictObject({
      seccomp: z
        .string()
        .max(1024 * 1024)
        .optional(),
      apparmor: name.optional(),
      noNewPrivileges: z.boolean().optional(),
    })
    .optional(),
  privileged: z.boolean().optional(),
  devices: few(
    z.strictObject({ source: path, target: path, access: z.string().regex(/^[rwm]{1,3}$/) }),
  ),
  sysctls: pairs,
  oomScoreAdj: int(-1000, 1000).optional(),
  restart: z
    .strictObject({
      name: z.enum(['no', 'on-failure', 'always']),
      maxRetries: int(1, 1_000_000_000).optional(),
    })
    .optional(),
  init: z.boolean().optional(),
  stopSignal: z.string().min(1).max(32).optional(),
  stopTimeout: int(0, 86_400).optional(),
  healthcheck: z
    .strictObject({
      test: z.array(z.string()).max(1000).optional(),
      interval: time,
      timeout: time,
      startPeriod: time,
      retries: int(1, 1000).optional(),
    })
    .optional(),
  userMapping: z
    .strictObject({
      containerID: int(0, 2 ** 32 - 2),
      hostID: int(1, 2 ** 32 - 2),
      size: int(1, 2 ** 32 - 2),
    })
    .optional(),
  runtime: path.optional(),
});
