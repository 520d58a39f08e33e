import { AsyncLocalStorage } from 'node:async_hooks';
import type { Priority } from '../../../shared/pull/priority.ts';

/** On whose behalf a registry is asked. */
export interface Asking {
  /** The same each time that the job runs: it keeps its place in the line. */
  ticket: string;
  priority: Priority;
  /** Nobody waits for it: where a registry has little left to give, it is put off. */
  isPatient: boolean;
  /** The pull, where it is one alone. */
  pull?: string;
  /** A request of this run was let in: the rest of the run goes before those that have not begun. */
  isInside: boolean;
}

const asking = new AsyncLocalStorage<Asking>();

/**
 * Runs a job's handler so that the budgets know who asks, however deep below it a request is sent: neither the
 * registry client nor what calls it has to hand that on.
 */
export async function askingFor<T>(
  asker: Omit<Asking, 'isInside'>,
  work: () => Promise<T>,
): Promise<T> {
  return await asking.run({ ...asker, isInside: false }, work);
}

export function whoAsks(): Asking | undefined {
  return asking.getStore();
}
