import { DrayError } from '../../../shared/errors.ts';
import type { Container } from './container.ts';
import type { ContainerServices } from './services.ts';
import type { Supervisor } from './supervisor.ts';

interface CallOptions {
  signal?: AbortSignal;
}

/** Freezes all processes of a container. @throws NOT_FOUND, CONFLICT */
export async function pauseContainer(
  services: ContainerServices,
  supervisor: Supervisor,
  id: string,
  options: CallOptions,
): Promise<Container> {
  using _change = await supervisor.changes.take(id, options);
  const container = services.rows.require(id);
  if (container.state === 'running') {
    return await setPaused(services, supervisor, container, true);
  }
  throw new DrayError('CONFLICT', `Container ${id} is ${container.state}, not running`);
}

/** Undoes {@link pauseContainer}. @throws NOT_FOUND, CONFLICT */
export async function unpauseContainer(
  services: ContainerServices,
  supervisor: Supervisor,
  id: string,
  options: CallOptions,
): Promise<Container> {
  using _change = await supervisor.changes.take(id, options);
  const container = services.rows.require(id);
  if (container.state === 'paused') {
    return await setPaused(services, supervisor, container, false);
  }
  throw new DrayError('CONFLICT', `Container ${id} is ${container.state}, not paused`);
}

/** Under the container's lock. */
export async function setPaused(
  services: ContainerServices,
  supervisor: Supervisor,
  container: Container,
  paused: boolean,
): Promise<Container> {
  const { runc } = await services.tools(container.options.runtime);
  if (paused) await runc.pause(container.instance);
  else await runc.resume(container.instance);
  const changed: Container = { ...container, state: paused ? 'paused' : 'running' };
  services.rows.update(changed);
  supervisor.tell();
  return changed;
}
