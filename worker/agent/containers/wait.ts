import type { ContainerExit } from '../../../shared/agent/containers.ts';
import { exitCodes } from '../runtime/exit-codes.ts';
import type { ContainerServices } from './services.ts';
import { exitOf, type Supervisor } from './supervisor.ts';

/** Waits until a container has ended; one that was removed since is remembered for a while. @throws NOT_FOUND */
export async function waitForEnd(
  { rows }: Pick<ContainerServices, 'rows'>,
  supervisor: Supervisor,
  id: string,
  options: { signal?: AbortSignal } = {},
): Promise<ContainerExit> {
  const instance = rows.get(id)?.instance;
  for (;;) {
    options.signal?.throwIfAborted();
    const container = rows.get(id);
    if (container?.instance !== instance || container === undefined) {
      const remembered = supervisor.remembered(id);
      if (remembered !== undefined) return remembered;
      if (instance === undefined) return exitOf(rows.require(id));
      return { exitCode: exitCodes.unknown, error: `Container ${id} was removed` };
    }
    if (container.state === 'exited') return exitOf(container);
    await nextChange(supervisor.changed, options.signal);
  }
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
