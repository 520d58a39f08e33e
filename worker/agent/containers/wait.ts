import type { ContainerExit } from '../../../shared/agent/containers.ts';
import { exitCodes } from '../runtime/exit-codes.ts';
import type { Container } from './container.ts';
import type { ContainerServices } from './services.ts';
import { exitOf, type Supervisor } from './supervisor.ts';

/**
 * Waits until a container has ended, and one that is removed then until it is gone; one that was removed since is
 * remembered for a while.
 * @throws NOT_FOUND
 */
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
    if (hasEnded(container) && !(container.autoRemove && supervisor.isClearingUp(instance))) {
      return exitOf(container);
    }
    await nextChange(supervisor.changed, options.signal);
  }
}

/** Also one that could not be removed. */
function hasEnded({ state, autoRemove, exitCode }: Container): boolean {
  return state === 'exited' || (state === 'removing' && autoRemove && exitCode !== undefined);
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
