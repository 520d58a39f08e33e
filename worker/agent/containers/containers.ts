import { randomBytes } from 'node:crypto';
import { setMaxListeners } from 'node:events';
import { mkdir, realpath, rm } from 'node:fs/promises';
import type {
  ContainerExit,
  ContainerStatus,
  CreateContainerRequest,
} from '../../../shared/agent/containers.ts';
import type { ExecRequest } from '../../../shared/agent/exec.ts';
import { DrayError } from '../../../shared/errors.ts';
import type { Logger } from '../../../shared/logging.ts';
import type { NodeDatabase } from '../node-database.ts';
import type { ExecSession } from '../runtime/exec.ts';
import { exitCodes } from '../runtime/exit-codes.ts';
import { Runc } from '../runtime/runc.ts';
import { parseSignal } from '../runtime/signals.ts';
import { findTool } from '../runtime/tools.ts';
import { Claims } from '../snapshot/claims.ts';
import { makeBundle, removeBundle } from './bundle.ts';
import { type Container, isLive, parseContainerID, statusOf } from './container.ts';
import { ContainerRows } from './container-rows.ts';
import { execInContainer } from './exec.ts';
import { ExitWatch } from './exits.ts';
import type { ImageSource } from './image.ts';
import { bundleOf, layoutOf } from './layout.ts';
import { halt, launch, makeFolders } from './lifecycle.ts';
import { type OpenedLog, openLog, type ReadLogOptions } from './log.ts';
import { observe, reconcile } from './reconcile.ts';
import type { ContainerServices, RootSnapshots } from './services.ts';
import { settle } from './settings.ts';

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
  log: Logger;
}

/** Exits of removed containers that are remembered for those who come to ask. */
const rememberedExits = 256;

/**
 * The node's containers. Each has a monitor of its own and outlives this process: closing stops none.
 * Whatever a call leaves half done when it fails, it undoes; what a crash leaves, the next open does.
 */
export class Containers implements AsyncDisposable {
  readonly #services: ContainerServices;
  /** Changes of one container, one after the other. */
  readonly #changes = new Claims();
  readonly #exits: ExitWatch;
  /** Tells of each end, as an event `change`. */
  readonly #changed = new EventTarget();
  readonly #remembered = new Map<string, ContainerExit>();
  /** Work that nobody waits for but {@link [Symbol.asyncDispose]}, by instance. */
  readonly #background = new Map<string, Promise<void>>();
  /** Instances that are to be looked at again once the look that goes on is over. */
  readonly #again = new Set<string>();
  #closed = false;

  private constructor(services: ContainerServices) {
    this.#services = services;
    // As many as there are people who follow.
    setMaxListeners(0, this.#changed);
    this.#exits = new ExitWatch(
      services.layout.exits,
      (instance) => this.#look(instance),
      () => {
        for (const { state, instance } of services.rows.list())
          if (isLive(state)) this.#look(instance);
      },
    );
  }

  /** Opens the containers of an agent's root folder and mends what the agent before this one left. */
  static async open(options: OpenContainersOptions): Promise<Containers> {
    await mkdir(options.root, { recursive: true, mode: 0o700 });
    const layout = layoutOf(await realpath(options.root), options.run);
    const services: ContainerServices = {
      layout,
      rows: new ContainerRows(options.database),
      snapshots: options.snapshots,
      images: options.images,
      tools: async () => ({
        conmon: await findTool('conmon'),
        runc: new Runc({ path: await findTool('runc'), root: layout.runtime }),
      }),
      log: options.log,
    };
    await makeFolders(services);
    await reconcile(services, options);
    const containers = new Containers(services);
    for (const container of services.rows.list()) {
      if (container.autoRemove && container.state === 'exited') containers.#removeLater(container);
    }
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
    using _change = await this.#changes.take(id, options);
    await this.#services.tools();
    const image = await this.#services.images.find(request.image, options);
    const runOptions = request.options ?? {};
    const stopSignal = runOptions.stopSignal ?? (image.config.config?.StopSignal || 'SIGTERM');
    parseSignal(stopSignal);
    const { rows } = this.#services;
    const container: Container = {
      id,
      instance: `${id.slice(0, 48)}-${randomBytes(6).toString('hex')}`,
      state: 'creating',
      image: image.name,
      manifest: image.manifest,
      options: runOptions,
      args: [],
      stopSignal,
      autoRemove: request.autoRemove ?? false,
      settings: settle(image.config.config ?? {}, runOptions, 'host'),
      restarts: 0,
      stopRequested: false,
      oomKilled: false,
      addresses: [],
      createdAt: new Date(),
    };
    rows.insert(container);
    try {
      const spec = await makeBundle(this.#services, container, image, options);
      const created: Container = { ...container, state: 'created', args: spec.process.args };
      rows.update(created);
      this.#remembered.delete(id);
      return statusOf(created);
    } catch (error) {
      rows.delete(container.instance);
      throw error;
    }
  }

  /**
   * Runs the container's command, for the first time or again.
   * @throws NOT_FOUND, CONFLICT, RUNTIME_FAILED with `context.exitCode`
   */
  async start(id: string, options: CallOptions = {}): Promise<ContainerStatus> {
    using _change = await this.#changes.take(id, options);
    const container = this.#require(id);
    if (container.state !== 'created' && container.state !== 'exited') {
      throw new DrayError('CONFLICT', `Container ${id} is ${container.state} already`);
    }
    const { exitCode: _code, error: _error, finishedAt: _finished, pid: _pid, ...rest } = container;
    const starting: Container = { ...rest, state: 'starting' };
    this.#services.rows.update(starting);
    try {
      return statusOf(await launch(this.#services, starting));
    } catch (error) {
      this.#ended(this.#require(id));
      throw error;
    } finally {
      // An exit that came meanwhile found the container locked.
      this.#look(container.instance);
    }
  }

  /** All containers, oldest first. */
  list(): ContainerStatus[] {
    return this.#services.rows.list().map(statusOf);
  }

  /** @throws NOT_FOUND */
  inspect(id: string): ContainerStatus {
    return statusOf(this.#require(id));
  }

  /** Sends a signal (a name or number) to the container's first process. @throws NOT_FOUND, CONFLICT, CONFIG_INVALID */
  async kill(id: string, signalName: string, options: CallOptions = {}): Promise<void> {
    const number = parseSignal(signalName, { code: 'USAGE' });
    const { state, instance } = this.#require(id);
    const { runc } = await this.#services.tools();
    if (state === 'running' && (await runc.kill(instance, number, options))) return;
    throw new DrayError('CONFLICT', `Container ${id} is not running`, {
      hint: 'dray ps --all shows the state of every container.',
    });
  }

  /** Waits until the container has ended; one that was removed since is remembered for a while. @throws NOT_FOUND */
  async wait(id: string, options: CallOptions = {}): Promise<ContainerExit> {
    const instance = this.#services.rows.get(id)?.instance;
    for (;;) {
      options.signal?.throwIfAborted();
      const container = this.#services.rows.get(id);
      if (container?.instance !== instance || container === undefined) {
        const remembered = this.#remembered.get(id);
        if (remembered !== undefined) return remembered;
        if (instance === undefined) throw unknownContainer(id);
        return { exitCode: exitCodes.unknown, error: `Container ${id} was removed` };
      }
      if (container.state === 'exited') return exitOf(container);
      await nextChange(this.#changed, options.signal);
    }
  }

  /**
   * Removes a container and what it wrote.
   * @param options.force ends it first when it runs
   * @throws NOT_FOUND, CONFLICT when it runs
   */
  async remove(id: string, options: CallOptions & { force?: boolean } = {}): Promise<void> {
    using _change = await this.#changes.take(id, options);
    const container = this.#require(id);
    if (isLive(container.state) && options.force !== true) {
      throw new DrayError('CONFLICT', `Container ${id} is running`, {
        hint: `End it first (dray kill ${id}), or use dray rm --force ${id}.`,
      });
    }
    await this.#remove(container);
  }

  /** Runs a further process in a container: see {@link execInContainer}. @throws NOT_FOUND */
  async exec(id: string, request: ExecRequest, options: CallOptions = {}): Promise<ExecSession> {
    return await execInContainer(this.#services, this.#require(id), request, options);
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
      changed: this.#changed,
    });
  }

  /** Ends the watching. Containers run on. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed = true;
    this.#exits[Symbol.dispose]();
    await Promise.allSettled(this.#background.values());
  }

  #require(id: string): Container {
    const container = this.#services.rows.get(id);
    if (container === undefined) throw unknownContainer(id);
    return container;
  }

  /** Looks whether a container has ended, in the background, one look at a time. */
  #look(instance: string): void {
    if (this.#closed) return;
    if (this.#background.has(instance)) {
      this.#again.add(instance);
      return;
    }
    this.#inBackground(instance, async () => {
      const found = this.#services.rows.byInstance(instance);
      if (found === undefined) return;
      using _change = await this.#changes.take(found.id);
      const container = this.#services.rows.byInstance(instance);
      if (container?.state !== 'running') return;
      const current = await observe(this.#services, container);
      if (current === undefined) return;
      this.#services.rows.update(current);
      // Whoever waits hears of it first; cleaning up takes the runtime some time.
      this.#changed.dispatchEvent(new Event('change'));
      await halt(this.#services, instance);
      await rm(bundleOf(this.#services.layout, instance).exit, { force: true });
      if (current.autoRemove) await this.#remove(current);
    });
  }

  #removeLater(container: Container): void {
    this.#inBackground(container.instance, async () => {
      using _change = await this.#changes.take(container.id);
      const current = this.#services.rows.byInstance(container.instance);
      if (current?.state === 'exited') await this.#remove(current);
    });
  }

  #inBackground(instance: string, work: () => Promise<void>): void {
    const done = work()
      .catch((error: unknown) => {
        this.#services.log.error({ err: error, instance }, 'a container could not be cleared up');
      })
      .finally(() => {
        this.#background.delete(instance);
        if (this.#again.delete(instance)) this.#look(instance);
      });
    this.#background.set(instance, done);
  }

  #ended(container: Container): void {
    this.#changed.dispatchEvent(new Event('change'));
    if (container.autoRemove) this.#removeLater(container);
  }

  /** Under the container's lock. */
  async #remove(container: Container): Promise<void> {
    const { rows } = this.#services;
    const { id, instance } = container;
    const wasLive = isLive(container.state);
    rows.update({ ...container, state: 'removing' });
    await halt(this.#services, instance);
    const end = wasLive ? await observe(this.#services, container) : container;
    await removeBundle(this.#services, instance);
    this.#remember(id, exitOf(end ?? container));
    rows.delete(instance);
    this.#changed.dispatchEvent(new Event('change'));
  }

  #remember(id: string, exit: ContainerExit): void {
    this.#remembered.delete(id);
    this.#remembered.set(id, exit);
    const [oldest] = this.#remembered.keys();
    if (this.#remembered.size > rememberedExits && oldest !== undefined) {
      this.#remembered.delete(oldest);
    }
  }
}

function exitOf({ exitCode = exitCodes.unknown, error }: Container): ContainerExit {
  return { exitCode, ...(error === undefined ? {} : { error }) };
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
