import type { Command } from 'commander';
import { messageOf } from '../../shared/errors.ts';
import type { AgentClient } from '../agent/client.ts';
import { openContext } from './context.ts';

/**
 * Does the same to several containers, one after the other. One that fails keeps none of the others from
 * their turn; what failed is said at the end.
 * @param work gets the agent, and what finds it again where it was replaced
 */
export async function eachContainer(
  command: Command,
  ids: readonly string[],
  work: (client: AgentClient, id: string, connect: () => Promise<AgentClient>) => Promise<void>,
): Promise<void> {
  const context = await openContext(command);
  const connect = () => context.agent();
  const client = await connect();
  const failures: unknown[] = [];
  for (const id of ids) {
    await work(client, id, connect).catch((error: unknown) => failures.push(error));
  }
  throwFailures(failures);
}

/** Says what failed, and throws the last of it, if there is any. */
export function throwFailures(failures: readonly unknown[]): void {
  for (const failure of failures.slice(0, -1)) process.stderr.write(`${messageOf(failure)}\n`);
  if (failures.length > 0) throw failures.at(-1);
}
