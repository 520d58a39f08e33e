import { DrayError } from '../../../shared/errors.ts';
import type { Container } from './container.ts';
import type { ContainerServices } from './services.ts';
import type { Supervisor } from './supervisor.ts';

interface CallOptions {
  signal?: AbortSignal;
}

/** Freezes all processes of a container, or lets them go on. @throws NOT_FOUND, CONFLICT */
export async function pauseContainer(
  services: ContainerServices,
  supervisor: Supervisor,
  id: string,
  { paused, ...options }: CallOptions & { paused: boolean },
): Promise<Container> {
  using _change = await supervisor.changes.take(id, options);
  const container = services.rows.require(id);
  const needed = paused ? 'running' : 'paused';
  if (container.state === needed) return await setPaused(services, supervisor, container, paused);
  throw new DrayError('CONFLICT', `Container ${id} is ${container.state}, not ${needed}`);
}

/** Under the container's lock. */
export async function setPaused(
  services: ContainerServices,
  supervisor: Supervisor,
  container: Container,
  paused: boolean,
): Promise<Container> {
  const { runc } = services.tools(container.options.runtime);
  if (paused) await runc.pause(container.instance);
  else await runc.resume(container.instance);
  const changed: Container = { ...container, state: paused ? 'paused' : 'running' };
  services.rows.update(changed);
  supervisor.tell();
  return changed;
}
