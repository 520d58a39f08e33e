import { isLost, listNodes } from '../../shared/node/registry.ts';
import { queueError } from '../../shared/queue/connection.ts';
import type { Context } from './context.ts';
import { formatAge, type ListOptions, printList } from './output.ts';

/** `dray nodes` @throws QUEUE_UNAVAILABLE */
export async function printNodes(context: Context, options: ListOptions): Promise<void> {
  const { redis: settings } = context.config;
  await using queue = await context.openQueue();
  const now = new Date();
  const nodes = await listNodes(queue.redis, settings.prefix).catch((error: unknown) => {
    throw queueError(error, settings, queue.redis);
  });
  const rows = nodes.map((node) => ({ ...node, state: isLost(node, now) ? 'lost' : 'ready' }));
  printList(rows, options, {
    headings: ['NAME', 'STATE', 'PLATFORM', 'VERSION', 'SEEN'],
    row: (node) => [
      node.name,
      node.state,
      node.platform,
      node.version,
      formatAge(node.seenAt, now),
    ],
    name: ({ name }) => name,
  });
}
