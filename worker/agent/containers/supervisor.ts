import { setMaxListeners } from 'node:events';
import { rm } from 'node:fs/promises';
import type { ContainerExit } from '../../../shared/agent/containers.ts';
import { exitCodes } from '../runtime/exit-codes.ts';
import { Claims } from '../snapshot/claims.ts';
import { removeBundle } from './bundle.ts';
import { type Container, isLive } from './container.ts';
import { ExitWatch } from './exits.ts';
import { HealthChecks, unknownHealth } from './health.ts';
import { bundleOf } from './layout.ts';
import { halt, haltEnded, launch } from './lifecycle.ts';
import { observe } from './reconcile.ts';
import { planRestart } from './restarts.ts';
import type { ContainerServices } from './services.ts';

/** Exits of removed containers that are remembered for those who come to ask. */
const rememberedExits = 256;

/**
 * What happens to containers without anybody asking for it: their ends are noticed and cleared up, restart
 * policies obeyed, checks run. Closing it ends none of them.
 */
export class Supervisor implements AsyncDisposable {
  /** Changes of one container, one after the other. */
  readonly changes = new Claims();
  /** Tells of each change of a state or of health, as an event `change`. */
  readonly changed = new EventTarget();
  readonly #services: ContainerServices;
  readonly #exits: ExitWatch;
  readonly #health: HealthChecks;
  readonly #remembered = new Map<string, ContainerExit>();
  /** Work that nobody waits for but {@link [Symbol.asyncDispose]}, by instance. */
  readonly #background = new Map<string, Promise<void>>();
  /** Instances that are to be looked at again once the look that goes on is over. */
  readonly #again = new Set<string>();
  /** Restarts to come, by instance. */
  readonly #restarts = new Map<string, NodeJS.Timeout>();
  #closed = false;

  constructor(services: ContainerServices) {
    this.#services = services;
    // As many as there are people who follow.
    setMaxListeners(0, this.changed);
    this.#health = new HealthChecks(services, () => this.tell());
    this.#exits = new ExitWatch(
      services.layout.exits,
      (instance) => this.look(instance),
      () => {
        for (const { state, instance } of services.rows.list())
          if (isLive(state)) this.look(instance);
      },
    );
  }

  /** Takes over the containers that there are, after {@link reconcile}. */
  takeOver(): void {
    for (const container of this.#services.rows.list()) {
      if (container.state === 'running') this.#health.watch(container);
      else if (container.state === 'restarting') this.#restartLater(container);
      else if (container.state === 'exited' && container.autoRemove) this.removeLater(container);
    }
  }

  /** Tells those who wait that something changed. */
  tell(): void {
    this.changed.dispatchEvent(new Event('change'));
  }

  /**
   * Runs the command of a container, under its lock.
   * @throws as {@link launch}; the container is exited then
   */
  async start(container: Container): Promise<Container> {
    const { rows } = this.#services;
    clearTimeout(this.#restarts.get(container.instance));
    this.#restarts.delete(container.instance);
    const { exitCode: _code, error: _error, finishedAt: _finished, pid: _pid, ...kept } = container;
    const { killAt: _killAt, ...rest } = kept;
    if (rest.settings.healthcheck !== undefined) rows.setHealth(container.instance, unknownHealth);
    const starting: Container = { ...rest, state: 'starting' };
    rows.note(starting);
    try {
      const running = await launch(this.#services, starting);
      this.#health.watch(running);
      this.tell();
      return running;
    } catch (error) {
      this.tell();
      const failed = rows.byInstance(container.instance);
      if (failed?.autoRemove === true) this.removeLater(failed);
      throw error;
    } finally {
      // An exit that came meanwhile found the container locked.
      this.look(container.instance);
    }
  }

  /** Leaves a container that waits for its restart as it is, under its lock. */
  cancelRestart(container: Container): void {
    clearTimeout(this.#restarts.get(container.instance));
    this.#restarts.delete(container.instance);
    this.#services.rows.update({ ...container, state: 'exited', stopRequested: true });
    this.tell();
  }

  /** Ends a container and removes all of it, under its lock. */
  async remove(container: Container): Promise<void> {
    const { rows } = this.#services;
    const { instance } = container;
    const wasLive = isLive(container.state);
    this.#health.unwatch(instance);
    clearTimeout(this.#restarts.get(instance));
    this.#restarts.delete(instance);
    rows.update({ ...container, state: 'removing' });
    await halt(this.#services, instance);
    const end = wasLive ? await observe(this.#services, container) : container;
    // For who follows the events: how it ended.
    if (wasLive && end !== undefined) rows.update({ ...end, state: 'removing' });
    await this.#discard(end ?? container);
  }

  /** Removes what is left of a container that was halted, and in state removing. */
  async #discard(container: Container): Promise<void> {
    const { id, instance } = container;
    await removeBundle(this.#services, instance);
    this.#remember(id, exitOf(container));
    this.#services.rows.delete(instance);
    this.tell();
  }

  /**
   * Removes a container whose processes have all ended. Its end is told once its name, addresses and ports are free;
   * its files, of which nobody knows any more then, go after that: the sweep of the next agent does the same.
   */
  async #forgetEnded(container: Container): Promise<void> {
    const { rows, bridge } = this.#services;
    const { id, instance } = container;
    await bridge.detach(instance);
    rows.deleteEnded(container);
    this.#remember(id, exitOf(container));
    this.tell();
    await haltEnded(this.#services, container);
    await removeBundle(this.#services, instance);
  }

  /** Removes a container that has ended, in the background. */
  removeLater(container: Container): void {
    this.#inBackground(container.instance, async () => {
      using _change = await this.changes.take(container.id);
      const current = this.#services.rows.byInstance(container.instance);
      if (current?.state === 'exited') await this.remove(current);
    });
  }

  /** How a container ended that was removed since. */
  remembered(id: string): ContainerExit | undefined {
    return this.#remembered.get(id);
  }

  /** Another container has the id. */
  forget(id: string): void {
    this.#remembered.delete(id);
  }

  /** Whether something is being done for a container that nobody asked for; its end is told as a change. */
  isClearingUp(instance: string | undefined): boolean {
    return instance !== undefined && this.#background.has(instance);
  }

  /** Looks whether a container has ended, in the background, one look at a time. */
  look(instance: string): void {
    if (this.#closed) return;
    if (this.#background.has(instance)) {
      this.#again.add(instance);
      return;
    }
    this.#inBackground(instance, async () => {
      const found = this.#services.rows.byInstance(instance);
      if (found === undefined || !isLive(found.state)) return;
      using _change = await this.changes.take(found.id);
      const container = this.#services.rows.byInstance(instance);
      if (container?.state === 'running' || container?.state === 'paused') {
        await this.#noticeEnd(container);
      }
    });
  }

  /** Ends the watching. Containers run on. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed = true;
    this.#exits[Symbol.dispose]();
    for (const timer of this.#restarts.values()) clearTimeout(timer);
    await this.#health[Symbol.asyncDispose]();
    await Promise.allSettled(this.#background.values());
  }

  async #noticeEnd(container: Container): Promise<void> {
    const { rows, layout } = this.#services;
    const { instance } = container;
    const exited = await observe(this.#services, container);
    if (exited === undefined) return;
    this.#health.unwatch(instance);
    const next = planRestart(exited) ?? exited;
    // Without its monitor's word it is not sure that all of it has ended.
    const isSure = next.exitCode !== exitCodes.unknown;
    if (next.state === 'exited' && next.autoRemove) {
      if (isSure) await this.#forgetEnded(next);
      else await this.remove(next);
      return;
    }
    rows.update(next);
    // Whoever waits hears of it first; cleaning up takes the runtime some time.
    this.tell();
    if (isSure) await haltEnded(this.#services, next);
    else await halt(this.#services, instance);
    await rm(bundleOf(layout, instance).exit, { force: true });
    if (next.state === 'restarting') this.#restartLater(next);
  }

  #restartLater({ instance, backoff }: Container): void {
    if (this.#closed) return;
    const timer = setTimeout(() => {
      this.#restarts.delete(instance);
      this.#inBackground(instance, () => this.#restart(instance));
    }, backoff);
    this.#restarts.set(instance, timer);
  }

  async #restart(instance: string): Promise<void> {
    const { rows, log } = this.#services;
    const found = rows.byInstance(instance);
    if (found === undefined || this.#closed) return;
    using _change = await this.changes.take(found.id);
    const container = rows.byInstance(instance);
    if (container?.state !== 'restarting' || this.#closed) return;
    try {
      await this.start(container);
      log.info({ container: container.id, restarts: container.restarts }, 'restarted');
    } catch (error) {
      log.warn({ err: error, container: container.id }, 'a container could not be restarted');
      const failed = rows.byInstance(instance);
      const next = failed === undefined ? undefined : planRestart(failed);
      if (next === undefined) return;
      rows.update(next);
      this.#restartLater(next);
    }
  }

  /** One after the other for one instance. */
  #inBackground(instance: string, work: () => Promise<void>): void {
    const before = this.#background.get(instance) ?? Promise.resolve();
    const done = before.then(work).catch((error: unknown) => {
      this.#services.log.error({ err: error, instance }, 'a container could not be cleared up');
    });
    const last = done.finally(() => {
      if (this.#background.get(instance) !== last) return;
      this.#background.delete(instance);
      this.tell();
      if (this.#again.delete(instance)) this.look(instance);
    });
    this.#background.set(instance, last);
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

/** How a container ended. */
export function exitOf({ exitCode = exitCodes.unknown, error }: Container): ContainerExit {
  return { exitCode, ...(error === undefined ? {} : { error }) };
}
