import { aliveStates } from '../shared/agent/containers.ts';
import { DrayError } from '../shared/errors.ts';
import { markNode, removeNode } from '../shared/node/registry.ts';
import { PullRecords } from '../shared/pull/records.ts';
import type { Redis } from '../shared/queue/connection.ts';
import { JobQueues } from '../shared/queue/jobs.ts';
import { unpackQueue } from '../shared/queue/names.ts';
import type { AgentClient } from './agent/client.ts';
import type { CallOptions } from './agent/connection.ts';

/**
 * Gives a node nothing new, and takes from it what pulls still want of it: its share fails. What it holds stays, and
 * its containers run on. Doing so twice changes nothing.
 * @returns how many pulls wanted something of it
 * @throws NOT_FOUND
 */
export async function drainNode(redis: Redis, prefix: string, name: string): Promise<number> {
  await markNode(redis, prefix, name, 'drained');
  return await withdrawNode(
    redis,
    prefix,
    name,
    new DrayError('CONFLICT', `The node ${name} was drained`, {
      hint: `Pull again without it, or have it take work again: dray nodes uncordon ${name}`,
    }),
  );
}

/**
 * Stops all containers that would run on, at the same time, each within its own time; none of them is started again.
 * @returns how many
 */
export async function stopContainers(agent: AgentClient, options: CallOptions): Promise<number> {
  const all = await agent.containers.list(options);
  const found = all.filter(({ state }) => aliveStates.has(state));
  await Promise.all(found.map(({ id }) => agent.containers.stop(id)));
  return found.length;
}

/** Forgets a node that is lost: pulls go on without it. @throws NOT_FOUND; CONFLICT for one whose agent lives */
export async function forgetNode(redis: Redis, prefix: string, name: string): Promise<void> {
  await removeNode(redis, prefix, name);
  const why = new DrayError('NODE_LOST', `The node ${name} was removed from the fleet`);
  await withdrawNode(redis, prefix, name, why);
  await using queues = new JobQueues(redis, prefix);
  await queues.queue(unpackQueue(name)).obliterate({ force: true });
}

/** Ends what open pulls want of a node. @returns how many did */
async function withdrawNode(
  redis: Redis,
  prefix: string,
  name: string,
  why: DrayError,
): Promise<number> {
  const records = new PullRecords(redis, prefix);
  let count = 0;
  for (const id of await records.open()) {
    if ((await records.nodes.withdraw(id, name, why)) !== undefined) count++;
  }
  return count;
}
