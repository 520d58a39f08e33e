import { randomBytes } from 'node:crypto';
import { mkdir, realpath } from 'node:fs/promises';
import { constants } from 'node:os';
import type {
  ContainerExit,
  ContainerStatus,
  CreateContainerRequest,
} from '../../../shared/agent/containers.ts';
import type { ExecRequest } from '../../../shared/agent/exec.ts';
import type { ContainerStats, ProcessStatus } from '../../../shared/agent/observe.ts';
import type { NetworkMode } from '../../../shared/agent/run-options.ts';
import type { NodeNetworkConfig } from '../../../shared/config/config.ts';
import { DrayError } from '../../../shared/errors.ts';
import {
  formatPlatform,
  normalizePlatform,
  parsePlatform,
  samePlatform,
} from '../../../shared/image/platform.ts';
import type { Logger } from '../../../shared/logging.ts';
import { BridgeNetwork } from '../network/bridge.ts';
import type { NodeDatabase } from '../node-database.ts';
import { readProcesses, readStats } from '../runtime/cgroup-stats.ts';
import type { ExecSession } from '../runtime/exec.ts';
import { exitCodes } from '../runtime/exit-codes.ts';
import { Runc } from '../runtime/runc.ts';
import { parseSignal } from '../runtime/signals.ts';
import { findRuntime, findTool } from '../runtime/tools.ts';
import { makeBundle } from './bundle.ts';
import { type Container, isLive, parseContainerID, statusOf } from './container.ts';
import { ContainerRows } from './container-rows.ts';
import { EventLog } from './events.ts';
import { execInContainer } from './exec.ts';
import type { ContainerImage, ImageSource } from './image.ts';
import { type ContainerInput, openInput } from './input.ts';
import { bundleOf, layoutOf, ownIDs } from './layout.ts';
import { makeFolders } from './lifecycle.ts';
import { type OpenedLog, openLog, type ReadLogOptions } from './log.ts';
import { reconcile } from './reconcile.ts';
import { type ContainerRoot, openRoot } from './root.ts';
import type { ContainerServices, RootSnapshots } from './services.ts';
import { settle } from './settings.ts';
import { exitOf, Supervisor } from './supervisor.ts';

export interface CallOptions {
  signal?: AbortSignal;
}

export type LogOptions = Omit<ReadLogOptions, 'hasEnded' | 'changed'>;

export interface OpenContainersOptions extends CallOptions {
  /** The agent's root folder. */
  root: string;
  /** A folder that a reboot empties; default: one below /run that belongs to this root. */
  run?: string;
  database: NodeDatabase;
  snapshots: RootSnapshots;
  images: ImageSource;
  network: NodeNetworkConfig;
  log: Logger;
}

/** Milliseconds between the stop signal and SIGKILL, where nobody says. */
const usualStopTimeout = 10_000;

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
    await mkdir(options.root, { recursive: true, mode: 0o700 });
    const layout = layoutOf(await realpath(options.root), options.run);
    await makeFolders(layout);
    const bridge = await BridgeNetwork.open({
      ...options.network,
      folder: layout.networks,
      addresses: layout.addresses,
    });
    const services: ContainerServices = {
      layout,
      rows: new ContainerRows(options.database),
      snapshots: options.snapshots,
      images: options.images,
      tools: async (runtime = 'runc') => ({
        conmon: await findTool('conmon'),
        runc: new Runc({ path: await findRuntime(runtime), root: layout.runtime }),
      }),
      bridge,
      defaultNetwork: options.network.default ?? (await usualNetwork(bridge)),
      log: options.log,
    };
    const events = new EventLog(options.database);
    await reconcile(services, options);
    const containers = new Containers(services, events);
    containers.#supervisor.takeOver();
    return containers;
  }

  /** What the runtime prints of its version. @throws TOOL_MISSING */
  async runtimeVersion(options: CallOptions = {}): Promise<string> {
    return await (await this.#services.tools()).runc.version(options);
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
  async create(
    request: CreateContainerRequest,
    options: CallOptions = {},
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
    await this.#services.tools();
    const image = await this.#services.images.find(request.image, options);
    requirePlatform(image, request.platform);
    const runOptions = request.options ?? {};
    await this.#services.tools(runOptions.runtime);
    const stopSignal = runOptions.stopSignal ?? (image.config.config?.StopSignal || 'SIGTERM');
    parseSignal(stopSignal);
    const { rows, defaultNetwork } = this.#services;
    const container: Container = {
      id,
      instance: `${id.slice(0, 48)}-${randomBytes(6).toString('hex')}${runOptions.userMapping === undefined ? '' : ownIDs}`,
      state: 'creating',
      image: image.name,
      manifest: image.manifest,
      options: runOptions,
      args: [],
      stopSignal,
      autoRemove: request.autoRemove ?? false,
      settings: settle(image.config.config ?? {}, runOptions, defaultNetwork),
      restarts: 0,
      stopRequested: false,
      backoff: 0,
      oomKilled: false,
      addresses: [],
      createdAt: new Date(),
    };
    rows.insert(container);
    const warnings: string[] = [];
    try {
      const spec = await makeBundle(this.#services, container, image, {
        ...options,
        warn: (message) => warnings.push(message),
      });
      const created: Container = { ...container, state: 'created', args: spec.process.args };
      rows.update(created);
      this.#supervisor.forget(id);
      return { ...statusOf(created), ...(warnings.length === 0 ? {} : { warnings }) };
    } catch (error) {
      rows.delete(container.instance);
      throw error;
    }
  }

  /**
   * Runs the container's command, for the first time or again. One that waits for its restart is started at once.
   * @throws NOT_FOUND, CONFLICT, RUNTIME_FAILED with `context.exitCode`
   */
  async start(id: string, options: CallOptions = {}): Promise<ContainerStatus> {
    using _change = await this.#supervisor.changes.take(id, options);
    const container = this.#require(id);
    if (!['created', 'exited', 'restarting'].includes(container.state)) {
      throw new DrayError('CONFLICT', `Container ${id} is ${container.state} already`);
    }
    const fresh = { ...container, stopRequested: false, restarts: 0, backoff: 0 };
    return statusOf(await this.#supervisor.start(fresh));
  }

  /** All containers, oldest first. */
  list(): ContainerStatus[] {
    return this.#services.rows.list().map(statusOf);
  }

  /** @throws NOT_FOUND */
  inspect(id: string): ContainerStatus {
    return statusOf(this.#require(id));
  }

  /**
   * Sends a signal (a name or number) to the container's first process. SIGKILL and the stop signal mean that
   * it shall stay ended.
   * @throws NOT_FOUND, CONFLICT, CONFIG_INVALID
   */
  async kill(id: string, signalName: string, options: CallOptions = {}): Promise<void> {
    const number = parseSignal(signalName, { code: 'USAGE' });
    using _change = await this.#supervisor.changes.take(id, options);
    const container = this.#require(id);
    const isRunning = container.state === 'running' || container.state === 'paused';
    if (isRunning && (await this.#signal(container, number))) return;
    throw new DrayError('CONFLICT', `Container ${id} is not running`, {
      hint: 'dray ps --all shows the state of every container.',
    });
  }

  /**
   * Asks a container to end by its stop signal, and kills it when it has not after its time. One that does not
   * run is success. Its restart policy rests until somebody starts it.
   * @param options.timeout milliseconds, instead of the container's own
   * @throws NOT_FOUND
   */
  async stop(id: string, options: CallOptions & { timeout?: number } = {}): Promise<ContainerExit> {
    const begun = await this.#askToStop(id, options);
    if (begun === undefined) return exitOf(this.#require(id));
    const usual = begun.options.stopTimeout;
    const timeout = options.timeout ?? (usual === undefined ? usualStopTimeout : usual * 1000);
    const bound = AbortSignal.timeout(timeout);
    const either = options.signal === undefined ? bound : AbortSignal.any([bound, options.signal]);
    try {
      return await this.wait(id, { signal: either });
    } catch (error) {
      options.signal?.throwIfAborted();
      if (!bound.aborted) throw error;
    }
    await this.kill(id, 'SIGKILL', options).catch((error: unknown) => {
      // It has just ended.
      if (!(error instanceof DrayError && error.code === 'CONFLICT')) throw error;
    });
    return await this.wait(id, options);
  }

  /** @returns the container that was sent its stop signal; undefined when it does not run */
  async #askToStop(id: string, options: CallOptions): Promise<Container | undefined> {
    using _change = await this.#supervisor.changes.take(id, options);
    const container = this.#require(id);
    if (container.state === 'restarting') this.#supervisor.cancelRestart(container);
    if (container.state !== 'running' && container.state !== 'paused') return undefined;
    await this.#signal(container, parseSignal(container.stopSignal));
    if (container.state === 'paused') await this.#setPaused(this.#require(id), false);
    return container;
  }

  /** Freezes all processes of a container. @throws NOT_FOUND, CONFLICT */
  async pause(id: string, options: CallOptions = {}): Promise<ContainerStatus> {
    using _change = await this.#supervisor.changes.take(id, options);
    const container = this.#require(id);
    if (container.state === 'running') return statusOf(await this.#setPaused(container, true));
    throw new DrayError('CONFLICT', `Container ${id} is ${container.state}, not running`);
  }

  /** Undoes {@link pause}. @throws NOT_FOUND, CONFLICT */
  async unpause(id: string, options: CallOptions = {}): Promise<ContainerStatus> {
    using _change = await this.#supervisor.changes.take(id, options);
    const container = this.#require(id);
    if (container.state === 'paused') return statusOf(await this.#setPaused(container, false));
    throw new DrayError('CONFLICT', `Container ${id} is ${container.state}, not paused`);
  }

  /** Waits until the container has ended; one that was removed since is remembered for a while. @throws NOT_FOUND */
  async wait(id: string, options: CallOptions = {}): Promise<ContainerExit> {
    const instance = this.#services.rows.get(id)?.instance;
    for (;;) {
      options.signal?.throwIfAborted();
      const container = this.#services.rows.get(id);
      if (container?.instance !== instance || container === undefined) {
        const remembered = this.#supervisor.remembered(id);
        if (remembered !== undefined) return remembered;
        if (instance === undefined) throw unknownContainer(id);
        return { exitCode: exitCodes.unknown, error: `Container ${id} was removed` };
      }
      if (container.state === 'exited') return exitOf(container);
      await nextChange(this.#supervisor.changed, options.signal);
    }
  }

  /**
   * Removes a container and what it wrote.
   * @param options.force ends it first when it runs
   * @throws NOT_FOUND, CONFLICT when it runs
   */
  async remove(id: string, options: CallOptions & { force?: boolean } = {}): Promise<void> {
    using _change = await this.#supervisor.changes.take(id, options);
    const container = this.#require(id);
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
    return await execInContainer(this.#services, this.#require(id), request, options);
  }

  /**
   * Opens the root folder of a container: of its processes where it runs, else its file system, which is mounted
   * for so long; until it is disposed, a container that does not run is not changed.
   * @throws NOT_FOUND
   */
  async root(id: string, options: CallOptions = {}): Promise<ContainerRoot> {
    const change = await this.#supervisor.changes.take(id, options);
    try {
      return await openRoot(this.#services, this.#require(id), change);
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
    const { pid, state } = this.#require(id);
    if (pid !== undefined && isLive(state)) return await readProcesses(pid);
    throw new DrayError('CONFLICT', `Container ${id} is ${state}: it has no processes`);
  }

  /** Opens the standard input of a running container: see {@link openInput}. @throws NOT_FOUND */
  input(id: string): ContainerInput {
    return openInput(this.#services, this.#require(id));
  }

  /** The bytes that the container wrote, in order. Its log is open once this resolves. @throws NOT_FOUND */
  async logs(id: string, options: CallOptions & LogOptions = {}): Promise<OpenedLog> {
    const { rows, layout } = this.#services;
    const { instance } = this.#require(id);
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

  /** Ends the watching. Containers run on. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#supervisor[Symbol.asyncDispose]();
  }

  #require(id: string): Container {
    const container = this.#services.rows.get(id);
    if (container === undefined) throw unknownContainer(id);
    return container;
  }

  /** Under the container's lock. @returns false when it has ended already */
  async #signal(container: Container, number: number): Promise<boolean> {
    const { rows } = this.#services;
    const { runc } = await this.#services.tools(container.options.runtime);
    const endsIt =
      number === constants.signals.SIGKILL || number === parseSignal(container.stopSignal);
    // Before it is sent: the end may be noticed, and another start be planned, at once.
    if (endsIt) rows.update({ ...container, stopRequested: true });
    if (await runc.kill(container.instance, number)) return true;
    rows.update(container);
    return false;
  }

  /** Under the container's lock. */
  async #setPaused(container: Container, paused: boolean): Promise<Container> {
    const { runc } = await this.#services.tools(container.options.runtime);
    if (paused) await runc.pause(container.instance);
    else await runc.resume(container.instance);
    const changed: Container = { ...container, state: paused ? 'paused' : 'running' };
    this.#services.rows.update(changed);
    this.#supervisor.tell();
    return changed;
  }
}

/** bridge where the node has what it takes, else host. */
async function usualNetwork(bridge: BridgeNetwork): Promise<NetworkMode> {
  return await bridge.requireTools().then(
    () => 'bridge',
    () => 'host',
  );
}

/** @throws IMAGE_UNKNOWN when what is there is for another platform */
function requirePlatform({ name, config }: ContainerImage, wanted: string | undefined): void {
  if (wanted === undefined) return;
  const { os, architecture, variant } = config;
  const own = { os, architecture, ...(variant === undefined ? {} : { variant }) };
  if (samePlatform(normalizePlatform(own), parsePlatform(wanted))) return;
  throw new DrayError(
    'IMAGE_UNKNOWN',
    `${name} is for ${formatPlatform(own)} here, not ${wanted}`,
    {
      hint: `Pull it for that platform: dray pull --platform ${wanted} ${name}`,
    },
  );
}

async function nextChange(changed: EventTarget, signal: AbortSignal | undefined): Promise<void> {
  await new Promise<void>((resolve) => {
    const done = () => {
      changed.removeEventListener('change', done);
      signal?.removeEventListener('abort', done);
      resolve();
    };
    changed.addEventListener('change', done);
    signal?.addEventListener('abort', done);
  });
}

function unknownContainer(id: string): DrayError {
  return new DrayError('NOT_FOUND', `There is no container ${id.slice(0, 140)} on this node`, {
    hint: 'dray ps --all shows those that there are.',
  });
}
