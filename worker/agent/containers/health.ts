import type { HealthcheckResult, HealthStatus } from '../../../shared/agent/containers.ts';
import { messageOf } from '../../../shared/errors.ts';
import { probe } from '../runtime/probe.ts';
import type { Container, Healthcheck } from './container.ts';
import { bundleOf } from './layout.ts';
import type { ContainerServices } from './services.ts';

/** Bytes of a check's output that are kept. */
const keptOutput = 4096;

/** Before the first check of a run. */
export const unknownHealth: HealthStatus = { state: 'starting', failures: 0 };

/** Runs the checks of containers that run, each from the end of the last on. */
export class HealthChecks implements AsyncDisposable {
  readonly #services: ContainerServices;
  readonly #onChange: () => void;
  readonly #watched = new Map<string, AbortController>();
  readonly #running = new Set<Promise<void>>();

  /** @param onChange called when the health of a container is another */
  constructor(services: ContainerServices, onChange: () => void) {
    this.#services = services;
    this.#onChange = onChange;
  }

  /** Begins with the checks of a container, where it has any and they have not begun. */
  watch({ instance, settings: { healthcheck } }: Container): void {
    if (healthcheck === undefined || this.#watched.has(instance)) return;
    const stop = new AbortController();
    this.#watched.set(instance, stop);
    const done = this.#check(instance, healthcheck, stop.signal)
      .catch((error: unknown) => {
        if (!stop.signal.aborted) {
          this.#services.log.error({ err: error, instance }, 'the checks of a container ended');
        }
      })
      .finally(() => {
        this.#running.delete(done);
        if (this.#watched.get(instance) === stop) this.#watched.delete(instance);
      });
    this.#running.add(done);
  }

  /** Ends the checks of a container. */
  unwatch(instance: string): void {
    this.#watched.get(instance)?.abort();
    this.#watched.delete(instance);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const instance of [...this.#watched.keys()]) this.unwatch(instance);
    await Promise.allSettled(this.#running);
  }

  async #check(instance: string, check: Healthcheck, signal: AbortSignal): Promise<void> {
    const { rows } = this.#services;
    for (;;) {
      await pause(check.interval, signal);
      const before = rows.byInstance(instance);
      if (before === undefined || signal.aborted) return;
      if (before.state === 'paused') continue;
      if (before.state !== 'running') return;
      const last = await this.#probe(before, check, signal);
      const container = rows.byInstance(instance);
      if (signal.aborted || container?.state !== 'running') return;
      const after = nextHealth(container, check, last);
      rows.setHealth(instance, after);
      if (after.state !== container.health?.state) {
        this.#services.log.info({ container: container.id, health: after.state }, 'health');
        this.#onChange();
      }
    }
  }

  async #probe(
    { instance, options }: Container,
    { command, timeout }: Healthcheck,
    signal: AbortSignal,
  ): Promise<HealthcheckResult> {
    const at = new Date().toISOString();
    try {
      const { runc } = this.#services.tools(options.runtime);
      const { bundle } = bundleOf(this.#services.layout, instance);
      const request = { instance, command, timeoutMs: timeout, maxBytes: keptOutput, bundle };
      return { at, ...(await probe(runc, { ...request, signal })) };
    } catch (error) {
      signal.throwIfAborted();
      return { at, exitCode: -1, output: messageOf(error).slice(0, keptOutput) };
    }
  }
}

/** As docker has it: failures do not count before the start period is over, but a success ends it. */
export function nextHealth(
  { health = unknownHealth, startedAt }: Pick<Container, 'health' | 'startedAt'>,
  { startPeriod, retries }: Pick<Healthcheck, 'startPeriod' | 'retries'>,
  last: HealthcheckResult,
): HealthStatus {
  if (last.exitCode === 0) return { state: 'healthy', failures: 0, last };
  const age = Date.parse(last.at) - (startedAt?.getTime() ?? 0);
  if (health.state === 'starting' && age < startPeriod) return { ...health, last };
  const failures = health.failures + 1;
  return { state: failures >= retries ? 'unhealthy' : health.state, failures, last };
}

async function pause(milliseconds: number, signal: AbortSignal): Promise<void> {
  await new Promise<void>((resolve) => {
    const done = () => {
      clearTimeout(timer);
      signal.removeEventListener('abort', done);
      resolve();
    };
    const timer = setTimeout(done, milliseconds);
    // Nothing of the agent's end waits for a check.
    timer.unref();
    signal.addEventListener('abort', done);
    if (signal.aborted) done();
  });
}
