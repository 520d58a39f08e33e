import type {
  ContainerState,
  ContainerStatus,
  HealthStatus,
  MountPoint,
} from '../../../shared/agent/containers.ts';
import type { NetworkMode, PortMapping, RunOptions } from '../../../shared/agent/run-options.ts';
import { DrayError } from '../../../shared/errors.ts';
import type { Digest } from '../../../shared/image/digest.ts';

/** What image and options together came to when the container was made. */
export interface ContainerSettings {
  labels: Record<string, string>;
  network: NetworkMode;
  /** `80/tcp`. */
  exposedPorts: string[];
  /** The ports of the node that lead to it, or did in its last run. */
  ports?: PortMapping[];
  mounts: MountPoint[];
  healthcheck?: Healthcheck;
}

/** How it is found out whether what runs in a container works. Times in milliseconds. */
export interface Healthcheck {
  /** A program and its arguments. */
  command: string[];
  interval: number;
  timeout: number;
  startPeriod: number;
  retries: number;
}

/** A container as the node's database has it. */
export interface Container {
  id: string;
  /** Names this container among all that ever had its id: its folder, snapshot and the runtime's own name. */
  instance: string;
  state: ContainerState;
  image: string;
  manifest: Digest;
  options: RunOptions;
  args: string[];
  stopSignal: string;
  autoRemove: boolean;
  settings: ContainerSettings;
  /** How often its restart policy has started it again. */
  restarts: number;
  /** Somebody wanted it to end: its restart policy rests until somebody starts it. */
  stopRequested: boolean;
  /** Somebody asked it to stop: when it is killed, unless it has ended by then. */
  killAt?: Date;
  /** Milliseconds between its end and the restart by its policy, the last time; 0: there was none. */
  backoff: number;
  oomKilled: boolean;
  /** While it has some on the node's bridge. */
  addresses: string[];
  health?: HealthStatus;
  createdAt: Date;
  startedAt?: Date;
  finishedAt?: Date;
  pid?: number;
  exitCode?: number;
  error?: string;
}

const idForm = /^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,127}$/;

/** Checks an id that came from outside: it becomes a program's argument and part of a path. @throws USAGE */
export function parseContainerID(text: string): string {
  if (idForm.test(text)) return text;
  throw new DrayError('USAGE', `"${text.slice(0, 140)}" is not the id of a container`, {
    hint: 'An id has up to 128 letters, digits, "_", "." and "-", a letter or digit first.',
  });
}

/** Whether something of the container may run, or may be about to. */
export function isLive(state: ContainerState): boolean {
  return state === 'starting' || state === 'running' || state === 'paused';
}

/** The ports of the node that lead to it; where it does not run, those that were named. */
function portsOf({ state, options, settings }: Container): PortMapping[] {
  if (isLive(state) && settings.ports !== undefined) return settings.ports;
  const asked = options.ports ?? [];
  return asked.filter((port): port is PortMapping => port.hostPort !== undefined);
}

/** The container as the API shows it. */
export function statusOf(container: Container): ContainerStatus {
  const { startedAt, killAt, finishedAt, pid, exitCode, error, options, settings, health } =
    container;
  return {
    id: container.id,
    state: container.state,
    image: container.image,
    manifest: container.manifest,
    args: container.args,
    stopSignal: container.stopSignal,
    autoRemove: container.autoRemove,
    labels: settings.labels,
    terminal: options.terminal ?? false,
    stdin: options.stdin ?? false,
    restart: options.restart ?? { name: 'no' },
    restarts: container.restarts,
    oomKilled: container.oomKilled,
    network: {
      mode: settings.network,
      addresses: container.addresses,
      ports: portsOf(container),
      exposedPorts: settings.exposedPorts,
    },
    mounts: settings.mounts,
    ...(health === undefined ? {} : { health }),
    createdAt: container.createdAt.toISOString(),
    ...(startedAt === undefined ? {} : { startedAt: startedAt.toISOString() }),
    ...(killAt === undefined ? {} : { killAt: killAt.toISOString() }),
    ...(finishedAt === undefined ? {} : { finishedAt: finishedAt.toISOString() }),
    ...(pid === undefined ? {} : { pid }),
    ...(exitCode === undefined ? {} : { exitCode }),
    ...(error === undefined ? {} : { error }),
  };
}
