import { z } from 'zod';
import { networkModes } from '../../../shared/agent/run-options.ts';
import { runOptions } from '../../../shared/agent/run-options-schema.ts';
import { digest, fault, listOf, time } from './common.ts';

const count = z.int().nonnegative();
const exitCode = z.int().min(0).max(255);

const health = z
  .object({
    state: z.enum(['starting', 'healthy', 'unhealthy']),
    failures: count.meta({ description: 'Checks that failed since the last that did not' }),
    last: z.object({ at: time, exitCode: z.int(), output: z.string() }).optional(),
  })
  .meta({ id: 'ContainerHealth' });

export const container = z
  .object({
    id: z.string(),
    state: z
      .enum([
        ...(['creating', 'created', 'starting', 'running'] as const),
        ...(['paused', 'restarting', 'exited', 'removing'] as const),
      ])
      .meta({
        description:
          'created: never started; restarting: ended, and its restart policy will start it again; exited: may be started again, or removed',
      }),
    image: z.string(),
    manifest: digest,
    args: z.array(z.string()).meta({ description: 'Program and arguments' }),
    stopSignal: z.string(),
    autoRemove: z.boolean(),
    labels: z.record(z.string(), z.string()),
    terminal: z.boolean(),
    stdin: z.boolean(),
    restart: z.object({
      name: z.enum(['no', 'on-failure', 'always']),
      maxRetries: count.optional(),
    }),
    restarts: count.meta({ description: 'How often its restart policy has started it again' }),
    oomKilled: z.boolean().meta({ description: 'The kernel ended it for its memory' }),
    network: z.object({
      mode: z.enum(networkModes),
      addresses: z.array(z.string()),
      ports: z.array(
        z.object({
          hostIP: z.string().optional(),
          hostPort: count,
          containerPort: count,
          protocol: z.enum(['tcp', 'udp', 'sctp']),
        }),
      ),
      exposedPorts: z.array(z.string()).meta({ description: '80/tcp: of interest, by the image' }),
    }),
    mounts: z.array(
      z.object({
        type: z.enum(['bind', 'volume', 'tmpfs']),
        source: z.string().optional(),
        target: z.string(),
        readonly: z.boolean(),
      }),
    ),
    health: health.optional(),
    createdAt: time,
    startedAt: time.optional(),
    killAt: time.optional().meta({
      description: 'It was asked to stop, and is killed then, unless it has ended',
    }),
    finishedAt: time.optional(),
    pid: count.optional().meta({ description: 'Of its first process, on the node' }),
    exitCode: exitCode.optional().meta({
      description:
        '128 + n for signal n, 126 and 127 when its command could not be run, 255 when it is not known',
    }),
    error: z.string().optional().meta({ description: 'Why it did not run' }),
    warnings: z.array(z.string()).optional().meta({
      description: 'What was asked for and is less on this node: only where it was made just now',
    }),
  })
  .meta({ id: 'Container' });

export const containerList = listOf(container).meta({ id: 'ContainerList' });

export const fleetContainers = z
  .object({
    items: z.array(
      z
        .object({ node: z.string(), container })
        .meta({ id: 'NodeContainer', description: 'A container, and where it is' }),
    ),
    missing: z.array(z.object({ node: z.string(), error: fault })).meta({
      description: 'Nodes whose containers are not known now, and why',
    }),
  })
  .meta({ id: 'FleetContainers' });

export const containerId = z
  .string()
  .regex(/^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,127}$/, 'not the id of a container');

export const runRequest = z
  .strictObject({
    image: z
      .string()
      .min(1)
      .max(1024)
      .meta({ description: 'A reference, or the digest of an index or manifest' }),
    id: containerId.optional().meta({ description: 'Default: twelve hex digits' }),
    options: runOptions
      .meta({
        id: 'RunOptions',
        description:
          'How it differs from what its image says, as the options of dray run: sizes in bytes, stopTimeout in seconds, times of healthcheck in milliseconds, -1 for no limit',
      })
      .optional(),
    platform: z.string().min(1).max(256).optional(),
    autoRemove: z.boolean().optional().meta({ description: 'It goes once it has ended' }),
    start: z.boolean().optional().meta({ description: 'false: it is made only' }),
  })
  .meta({ id: 'RunRequest' });

export const containerExit = z
  .object({ exitCode, error: z.string().optional() })
  .meta({ id: 'ContainerExit' });

export const stopRequest = z
  .strictObject({
    timeoutMs: z.int().min(0).max(86_400_000).optional().meta({
      description: 'After which it is killed. Default: its own',
    }),
  })
  .meta({ id: 'StopRequest' });

export const killRequest = z
  .strictObject({
    signal: z.string().min(1).max(32).optional().meta({
      description: 'A name as SIGTERM, or a number. Default: SIGKILL',
    }),
  })
  .meta({ id: 'KillRequest' });

export const execRequest = z
  .strictObject({
    args: z.array(z.string().max(131_072)).min(1).max(10_000).meta({
      description: 'Program and arguments',
    }),
    env: z
      .array(z.string().regex(/^[^=\0]+=/))
      .max(10_000)
      .optional()
      .meta({ description: 'KEY=VALUE, over those of the container' }),
    workingDirectory: z.string().min(1).max(4_096).optional(),
    user: z.string().min(1).max(256).optional(),
    input: z.string().optional().meta({ description: 'Its standard input. Default: empty' }),
  })
  .meta({ id: 'ExecRequest', description: 'What is left out is as the container has it' });

export const execResult = z
  .object({
    exitCode,
    stdout: z.string(),
    stderr: z.string(),
    truncated: z.boolean().meta({ description: 'It wrote more than is kept' }),
  })
  .meta({ id: 'ExecResult' });
