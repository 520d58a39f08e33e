import { setTimeout as sleep } from 'node:timers/promises';
import { DrayError } from '../../shared/errors.ts';
import { getNode } from '../../shared/node/registry.ts';
import { JobQueues } from '../../shared/queue/jobs.ts';
import { unpackQueue } from '../../shared/queue/names.ts';
import { drainNode, stopContainers } from '../drain-node.ts';
import { type Context, contextOf, type QueueConnection } from './context.ts';
import { withQueue } from './node-listing.ts';

/** Milliseconds that a drained node has to put down what it has in its hands. */
const idleBound = 30_000;

/**
 * `dray nodes drain`
 * @throws NOT_FOUND; TIMEOUT when one does not put down its work; AGENT_UNAVAILABLE when containers are to be stopped
 * by an agent that can't be reached
 */
export async function drainNodes(
  context: Context,
  names: readonly string[],
  options: { stopContainers?: boolean },
): Promise<void> {
  const say = (line: string) => process.stderr.write(`${line}\n`);
  await withQueue(context, async (queue, prefix) => {
    for (const name of names) {
      const pulls = await drainNode(queue.redis, prefix, name);
      if (pulls > 0) say(`${name}: ${counted(pulls, 'pull')} will go on without it`);
      const { state, containers } = await getNode(queue.redis, prefix, name);
      if (state === 'ready') await untilIdle(queue, prefix, name);
      if (options.stopContainers === true) {
        const agent = await contextOf(context.config, name).agent();
        const stopped = await stopContainers(agent, {});
        say(`${name}: ${counted(stopped, 'container')} stopped`);
      } else if (containers > 0) {
        say(`${name}: ${counted(containers, 'container')} left running (see --stop-containers)`);
      }
      process.stdout.write(`${name}\n`);
    }
  });
}

async function untilIdle({ redis }: QueueConnection, prefix: string, name: string): Promise<void> {
  await using queues = new JobQueues(redis, prefix);
  const queue = queues.queue(unpackQueue(name));
  const deadline = Date.now() + idleBound;
  while ((await queue.getActiveCount()) > 0) {
    if (Date.now() > deadline) {
      throw new DrayError('TIMEOUT', `The node ${name} has not put down its work yet`, {
        hint: `It gets nothing new. Look into the log of its agent, and again with: dray nodes drain ${name}`,
      });
    }
    await sleep(200);
  }
}

function counted(count: number, what: string): string {
  return `${count} ${what}${count === 1 ? '' : 's'}`;
}
