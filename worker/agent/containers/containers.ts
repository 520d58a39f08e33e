import type {
  ContainerExit,
  ContainerStatus,
  CreateContainerRequest,
  VolumeStatus,
} from '../../../shared/agent/containers.ts';
import type { ExecRequest } from '../../../shared/agent/exec.ts';
import type { ContainerStats, ProcessStatus } from '../../../shared/agent/observe.ts';
import { DrayError } from '../../../shared/errors.ts';
import { readProcesses, readStats } from '../runtime/cgroup-stats.ts';
import type { ExecSession } from '../runtime/exec.ts';
import { isLive, parseContainerID, statusOf } from './container.ts';
import { createContainer } from './create.ts';
import { EventLog } from './events.ts';
import { execInContainer } from './exec.ts';
import { type ContainerInput, openInput } from './input.ts';
import { bundleOf } from './layout.ts';
import { removeRunFolders } from './lifecycle.ts';
import { type OpenedLog, openLog, type ReadLogOptions } from './log.ts';
import { createVolume, listVolumes, removeVolume } from './named-volumes.ts';
import { type OpenContainersOptions, openServices } from './open-services.ts';
import { pauseContainer } from './pause.ts';
import { reconcile } from './reconcile.ts';
import { type ContainerRoot, openRoot } from './root.ts';
import type { ContainerServices } from './services.ts';
import { finishStop, killContainer, stopContainer } from './stop.ts';
import { Supervisor } from './supervisor.ts';
import { waitForEnd } from './wait.ts';

export interface CallOptions {
  signal?: AbortSignal;
}

/** A container that was just started. */
export interface RunningContainer {
  id: string;
  /** What was asked for and is less on this node. */
  warnings: string[];
  /** Its output from the beginning to the end. */
  log: OpenedLog;
  /** How it ended; with `autoRemove` once it is gone. */
  exited: Promise<ContainerExit>;
}

export type LogOptions = Omit<ReadLogOptions, 'hasEnded' | 'changed'>;

/**
 * The node's containers. Each has a monitor of its own and outlives this process: closing stops none.
 * Whatever a call leaves half done when it fails, it undoes; what a crash leaves, the next open does.
 */
export class Containers implements AsyncDisposable {
  readonly #services: ContainerServices;
  readonly #supervisor: Supervisor;

  /** What happened to the containers. */
  readonly events: EventLog;

  private constructor(services: ContainerServices, events: EventLog) {
    this.#services = services;
    this.events = events;
    this.#supervisor = new Supervisor(services);
  }

  /** Opens the containers of an agent's root folder and mends what the agent before this one left. */
  static async open(options: OpenContainersOptions): Promise<Containers> {
    const services = await openServices(options);
    const events = new EventLog(options.database);
    await reconcile(services, options);
    const containers = new Containers(services, events);
    containers.#supervisor.takeOver();
    containers.#finishStops();
    return containers;
  }

  /** Of those that were asked to stop by way of the agent before this one. */
  #finishStops(): void {
    for (const container of this.#services.rows.list()) {
      if (container.killAt === undefined || !isLive(container.state)) continue;
      finishStop(this.#services, this.#supervisor, container).catch((error: unknown) => {
        this.#services.log.error({ err: error, container: container.id }, 'could not be stopped');
      });
    }
  }

  /** What the runtime prints of its version. @throws TOOL_MISSING */
  async runtimeVersion(options: CallOptions = {}): Promise<string> {
    return await this.#services.tools().runc.version(options);
  }

  /** Whether a container needs what is mounted at `target`, so that a sweep leaves it alone. */
  isClaimed(target: string): boolean {
    const { layout, rows } = this.#services;
    return rows
      .list()
      .some(
        ({ instance, state }) => state !== 'exited' && bundleOf(layout, instance).rootfs === target,
      );
  }

  /**
   * Makes a container, which does not run yet.
   * @throws IMAGE_UNKNOWN, NOT_FOUND when the image is not unpacked here, CONFLICT, CONFIG_INVALID,
   * USER_UNKNOWN, COMMAND_MISSING, TOOL_MISSING, NOT_ROOT
   */
  create(request: CreateContainerRequest, options: CallOptions = {}): Promise<ContainerStatus> {
    return this.#create(request, options);
  }

  async #create(
    request: CreateContainerRequest,
    options: CallOptions & { isRun?: boolean },
  ): Promise<ContainerStatus> {
    const id = parseContainerID(request.id);
    if (process.geteuid?.() !== 0) {
      throw new DrayError(
        'NOT_ROOT',
        `Container ${id} can't be made: the agent does not run as root`,
        {
          hint: 'Start the agent as root, for instance with sudo dray up.',
        },
      );
    }
    using _change = await this.#supervisor.changes.take(id, options);
    const { container, warnings } = await createContainer(this.#services, id, request, options);
    this.#supervisor.forget(id);
    return { ...statusOf(container), ...(warnings.length === 0 ? {} : { warnings }) };
  }

  /**
   * Runs the container's command, for the first time or again. One that waits for its restart is started at once.
   * @throws NOT_FOUND, CONFLICT, RUNTIME_FAILED with `context.exitCode`
   */
  async start(id: string, options: CallOptions = {}): Promise<ContainerStatus> {
    using _change = await this.#supervisor.changes.take(id, options);
    const container = this.#services.rows.require(id);
    if (!['created', 'exited', 'restarting'].includes(container.state)) {
      throw new DrayError('CONFLICT', `Container ${id} is ${container.state} already`);
    }
    const fresh = { ...container, stopRequested: false, restarts: 0, backoff: 0 };
    return statusOf(await this.#supervisor.start(fresh));
  }

  /**
   * Makes a container and runs its command, of whose output nothing is missed. What could not be started is left
   * as {@link start} leaves it; what the caller did not wait for is removed, also when it runs by then.
   * @throws as {@link create} and {@link start}
   */
  async run(request: CreateContainerRequest, options: CallOptions = {}): Promise<RunningContainer> {
    const { id, warnings = [] } = await this.#create(request, { ...options, isRun: true });
    const { instance } = this.#services.rows.require(id);
    await using opened = new AsyncDisposableStack();
    try {
      const log = opened.use(await this.logs(id, { ...options, follow: true }));
      await this.start(id, options);
      options.signal?.throwIfAborted();
      const exited = this.wait(id, options);
      exited.catch(() => {});
      opened.move();
      return { id, warnings, log, exited };
    } catch (error) {
      if (options.signal?.aborted) {
        const isOurs = this.#services.rows.get(id)?.instance === instance;
        if (isOurs) await this.remove(id, { force: true });
      } else if (request.autoRemove === true) {
        // Its name is free once the caller hears of it.
        await this.wait(id, options).catch(() => {});
      }
      throw error;
    }
  }

  /** All containers, oldest first. */
  list(): ContainerStatus[] {
    return this.#services.rows.list().map(statusOf);
  }

  /** @throws NOT_FOUND */
  inspect(id: string): ContainerStatus {
    return statusOf(this.#services.rows.require(id));
  }

  /**
   * Sends a signal (a name or number) to the container's first process. SIGKILL and the stop signal mean that
   * it shall stay ended.
   * @throws NOT_FOUND, CONFLICT, CONFIG_INVALID
   */
  async kill(id: string, signalName: string, options: CallOptions = {}): Promise<void> {
    await killContainer(this.#services, this.#supervisor, id, signalName, options);
  }

  /**
   * Asks a container to end by its stop signal, and kills it when it has not after its time. One that does not
   * run is success. Its restart policy rests until somebody starts it.
   * @param options.timeout milliseconds, instead of the container's own
   * @throws NOT_FOUND
   */
  stop(id: string, options: CallOptions & { timeout?: number } = {}): Promise<ContainerExit> {
    return stopContainer(this.#services, this.#supervisor, id, options);
  }

  /** Freezes all processes of a container. @throws NOT_FOUND, CONFLICT */
  async pause(id: string, options: CallOptions = {}): Promise<ContainerStatus> {
    return statusOf(
      await pauseContainer(this.#services, this.#supervisor, id, { ...options, paused: true }),
    );
  }

  /** Undoes {@link pause}. @throws NOT_FOUND, CONFLICT */
  async unpause(id: string, options: CallOptions = {}): Promise<ContainerStatus> {
    return statusOf(
      await pauseContainer(this.#services, this.#supervisor, id, { ...options, paused: false }),
    );
  }

  /** Waits until the container has ended; one that was removed since is remembered for a while. @throws NOT_FOUND */
  wait(id: string, options: CallOptions = {}): Promise<ContainerExit> {
    return waitForEnd(this.#services, this.#supervisor, id, options);
  }

  /**
   * Removes a container and what it wrote.
   * @param options.force ends it first when it runs
   * @throws NOT_FOUND, CONFLICT when it runs
   */
  async remove(id: string, options: CallOptions & { force?: boolean } = {}): Promise<void> {
    using _change = await this.#supervisor.changes.take(id, options);
    const container = this.#services.rows.require(id);
    const { state } = container;
    if ((isLive(state) || state === 'restarting') && options.force !== true) {
      throw new DrayError('CONFLICT', `Container ${id} is ${state}`, {
        hint: `End it first (dray stop ${id}), or use dray rm --force ${id}.`,
      });
    }
    await this.#supervisor.remove(container);
  }

  /** Runs a further process in a container: see {@link execInContainer}. @throws NOT_FOUND */
  async exec(id: string, request: ExecRequest, options: CallOptions = {}): Promise<ExecSession> {
    return await execInContainer(this.#services, this.#services.rows.require(id), request, options);
  }

  /**
   * Opens the root folder of a container: of its processes where it runs, else its file system, which is mounted
   * for so long; until it is disposed, a container that does not run is not changed.
   * @throws NOT_FOUND
   */
  async root(id: string, options: CallOptions = {}): Promise<ContainerRoot> {
    const change = await this.#supervisor.changes.take(id, options);
    try {
      return await openRoot(this.#services, this.#services.rows.require(id), change);
    } catch (error) {
      change[Symbol.dispose]();
      throw error;
    }
  }

  /** What each container that runs has used. */
  async stats(): Promise<ContainerStats[]> {
    const at = new Date().toISOString();
    const found = await Promise.all(
      this.#services.rows.list().map(async ({ id, pid, state, settings }) => {
        if (pid === undefined || !isLive(state)) return [];
        const used = await readStats(pid, settings.network !== 'host');
        return used === undefined ? [] : [{ id, at, ...used }];
      }),
    );
    return found.flat();
  }

  /** The processes of a container. @throws NOT_FOUND, CONFLICT when it does not run */
  async processes(id: string): Promise<ProcessStatus[]> {
    const { pid, state } = this.#services.rows.require(id);
    if (pid !== undefined && isLive(state)) return await readProcesses(pid);
    throw new DrayError('CONFLICT', `Container ${id} is ${state}: it has no processes`);
  }

  /** The volumes with a name. */
  async listVolumes(): Promise<VolumeStatus[]> {
    return await listVolumes(this.#services);
  }

  /** Makes a volume with a name: see {@link createVolume}. @throws CONFIG_INVALID */
  async createVolume(name: string): Promise<VolumeStatus> {
    return await createVolume(this.#services, name);
  }

  /** Removes a volume with a name. @throws NOT_FOUND, CONFLICT when a container has it */
  async removeVolume(name: string): Promise<void> {
    await removeVolume(this.#services, name);
  }

  /** Opens the standard input of a running container: see {@link openInput}. @throws NOT_FOUND */
  input(id: string): ContainerInput {
    return openInput(this.#services, this.#services.rows.require(id));
  }

  /** The bytes that the container wrote, in order. Its log is open once this resolves. @throws NOT_FOUND */
  async logs(id: string, options: CallOptions & LogOptions = {}): Promise<OpenedLog> {
    const { rows, layout } = this.#services;
    const { instance } = this.#services.rows.require(id);
    const hasEnded = () => {
      const state = rows.byInstance(instance)?.state;
      return state === undefined || state === 'exited';
    };
    return await openLog(bundleOf(layout, instance).log, {
      ...options,
      hasEnded,
      changed: this.#supervisor.changed,
    });
  }

  /** Ends the watching. Containers run on; without any, nothing is left outside the root folder. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#supervisor[Symbol.asyncDispose]();
    removeRunFolders(this.#services.layout);
  }
}
