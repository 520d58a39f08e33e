import type {
  ContainerState,
  ContainerStatus,
  RunOptions,
} from '../../../shared/agent/containers.ts';
import { DrayError } from '../../../shared/errors.ts';
import type { Digest } from '../../../shared/image/digest.ts';

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
  return state === 'starting' || state === 'running';
}

/** The container as the API shows it. */
export function statusOf(container: Container): ContainerStatus {
  const { startedAt, finishedAt, pid, exitCode, error } = container;
  return {
    id: container.id,
    state: container.state,
    image: container.image,
    manifest: container.manifest,
    args: container.args,
    stopSignal: container.stopSignal,
    autoRemove: container.autoRemove,
    createdAt: container.createdAt.toISOString(),
    ...(startedAt === undefined ? {} : { startedAt: startedAt.toISOString() }),
    ...(finishedAt === undefined ? {} : { finishedAt: finishedAt.toISOString() }),
    ...(pid === undefined ? {} : { pid }),
    ...(exitCode === undefined ? {} : { exitCode }),
    ...(error === undefined ? {} : { error }),
  };
}
