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
  options: CallOptions = {},
): Promise<void> {
  const number = parseSignal(signalName, { code: 'USAGE' });
  using _change = await supervisor.changes.take(id, options);
  const container = services.rows.require(id);
  const isRunning = container.state === 'running' || container.state === 'paused';
  if (isRunning && (await sendSignal(services, container, number))) return;
  if (isRunning) services.rows.update(container);
  throw new DrayError('CONFLICT', `Container ${id} is not running`, {
    hint: 'dray ps --all shows the state of every container.',
  });
}

/**
 * Sends the stop signal, and SIGKILL after the container's time, or `timeout` milliseconds, also when the caller has
 * left or the agent died by then ({@link finishStop}). One that does not run is success.
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
  const finished = finishStop(services, supervisor, begun);
  finished.catch(() => {});
  return await Promise.race([finished, waitForEnd(services, supervisor, id, options)]);
}

/** Waits for the end of a container that was sent its stop signal, and kills it at the time that its row has for that. */
export async function finishStop(
  services: ContainerServices,
  supervisor: Supervisor,
  { id, instance, killAt = new Date() }: Container,
): Promise<ContainerExit> {
  const bound = AbortSignal.timeout(Math.max(0, killAt.getTime() - Date.now()));
  try {
    return await waitForEnd(services, supervisor, id, { signal: bound });
  } catch (error) {
    if (!bound.aborted) throw error;
  }
  const current = services.rows.get(id);
  // Not another one by that id, and not one that was started again since.
  if (current?.instance === instance && current.killAt !== undefined && current.killAt <= killAt) {
    await killContainer(services, supervisor, id, 'SIGKILL').catch((error: unknown) => {
      // It has just ended.
      if (!(error instanceof DrayError && error.code === 'CONFLICT')) throw error;
    });
  }
  return await waitForEnd(services, supervisor, id);
}

/** @returns the container that was sent its stop signal; undefined when it does not run */
async function askToStop(
  services: ContainerServices,
  supervisor: Supervisor,
  id: string,
  options: CallOptions & { timeout?: number },
): Promise<Container | undefined> {
  using _change = await supervisor.changes.take(id, options);
  const found = services.rows.require(id);
  if (found.state === 'restarting') supervisor.cancelRestart(found);
  if (found.state !== 'running' && found.state !== 'paused') return undefined;
  const own = found.options.stopTimeout;
  const timeout = options.timeout ?? (own === undefined ? usualStopTimeout : own * 1000);
  // Of several who ask, who is in the greatest hurry.
  const killAt = new Date(Math.min(Date.now() + timeout, found.killAt?.getTime() ?? Infinity));
  const container = { ...found, killAt };
  // Also one that has just ended by itself stays ended.
  await sendSignal(services, container, parseSignal(container.stopSignal));
  if (container.state === 'paused') {
    await setPaused(services, supervisor, services.rows.require(id), false);
  }
  return container;
}

/** Under the container's lock, whose row then says what it is to lead to. @returns false when it has ended already */
async function sendSignal(
  { rows, tools }: ContainerServices,
  container: Container,
  number: number,
): Promise<boolean> {
  const { runc } = tools(container.options.runtime);
  const endsIt =
    number === constants.signals.SIGKILL || number === parseSignal(container.stopSignal);
  // Before it is sent: the end may be noticed, and another start be planned, at once.
  if (endsIt) rows.update({ ...container, stopRequested: true });
  return await runc.kill(container.instance, number);
}
