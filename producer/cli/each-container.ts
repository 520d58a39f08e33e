import type { Command } from 'commander';
import { messageOf } from '../../shared/errors.ts';
import type { AgentClient } from '../agent/client.ts';
import { openContext } from './context.ts';

/**
 * Does the same to several containers, one after the other. One that fails keeps none of the others from
 * their turn; what failed is said at the end.
 */
export async function eachContainer(
  command: Command,
  ids: readonly string[],
  work: (client: AgentClient, id: string) => Promise<void>,
): Promise<void> {
  const client = await (await openContext(command)).agent();
  const failures: unknown[] = [];
  for (const id of ids) await work(client, id).catch((error: unknown) => failures.push(error));
  const last = failures.pop();
  for (const failure of failures) process.stderr.write(`${messageOf(failure)}\n`);
  if (last !== undefined) throw last;
}
