import { constants } from 'node:os';
import type { ContainerExit } from '../../../shared/agent/containers.ts';
import { DrayError } from '../../../shared/errors.ts';
import { parseSignal } from '../runtime/signals.ts';
import type { Container } from './container.ts';
import { setPaused } from './pause.ts';
import type { ContainerServices } from './services.ts';
import { exitOf, type Supervisor } from './supervisor.ts';
import { waitForEnd } from './wait.ts';

interface CallOptions {
  signal?: AbortSignal;
}

/** Milliseconds between the stop signal and SIGKILL, where nobody says. */
const usualStopTimeout = 10_000;

/** @throws NOT_FOUND, CONFLICT when it does not run; USAGE for a name that is no signal's */
export async function killContainer(
  services: ContainerServices,
  supervisor: Supervisor,
  id: string,
  signalName: string,
  options: CallOptions,
): Promise<void> {
  const number = parseSignal(signalName, { code: 'USAGE' });
  using _change = await supervisor.changes.take(id, options);
  const container = services.rows.require(id);
  const isRunning = container.state === 'running' || container.state === 'paused';
  if (isRunning && (await sendSignal(services, container, number))) return;
  throw new DrayError('CONFLICT', `Container ${id} is not running`, {
    hint: 'dray ps --all shows the state of every container.',
  });
}

/**
 * Sends the stop signal, and SIGKILL after the container's time, or `timeout` milliseconds. One that does not run
 * is success.
 * @throws NOT_FOUND
 */
export async function stopContainer(
  services: ContainerServices,
  supervisor: Supervisor,
  id: string,
  options: CallOptions & { timeout?: number },
): Promise<ContainerExit> {
  const begun = await askToStop(services, supervisor, id, options);
  if (begun === undefined) return exitOf(services.rows.require(id));
  const usual = begun.options.stopTimeout;
  const timeout = options.timeout ?? (usual === undefined ? usualStopTimeout : usual * 1000);
  const bound = AbortSignal.timeout(timeout);
  const either = options.signal === undefined ? bound : AbortSignal.any([bound, options.signal]);
  try {
    return await waitForEnd(services, supervisor, id, { signal: either });
  } catch (error) {
    options.signal?.throwIfAborted();
    if (!bound.aborted) throw error;
  }
  await killContainer(services, supervisor, id, 'SIGKILL', options).catch((error: unknown) => {
    // It has just ended.
    if (!(error instanceof DrayError && error.code === 'CONFLICT')) throw error;
  });
  return await waitForEnd(services, supervisor, id, options);
}

/** @returns the container that was sent its stop signal; undefined when it does not run */
async function askToStop(
  services: ContainerServices,
  supervisor: Supervisor,
  id: string,
  options: CallOptions,
): Promise<Container | undefined> {
  using _change = await supervisor.changes.take(id, options);
  const container = services.rows.require(id);
  if (container.state === 'restarting') supervisor.cancelRestart(container);
  if (container.state !== 'running' && container.state !== 'paused') return undefined;
  await sendSignal(services, container, parseSignal(container.stopSignal));
  if (container.state === 'paused') {
    await setPaused(services, supervisor, services.rows.require(id), false);
  }
  return container;
}

/** Under the container's lock. @returns false when it has ended already */
async function sendSignal(
  services: ContainerServices,
  container: Container,
  number: number,
): Promise<boolean> {
  const { rows } = services;
  const { runc } = await services.tools(container.options.runtime);
  const endsIt =
    number === constants.signals.SIGKILL || number === parseSignal(container.stopSignal);
  // Before it is sent: the end may be noticed, and another start be planned, at once.
  if (endsIt) rows.update({ ...container, stopRequested: true });
  if (await runc.kill(container.instance, number)) return true;
  rows.update(container);
  return false;
}
