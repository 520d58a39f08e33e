import { formatLabels } from '../../shared/node/labels.ts';
import { imagesOfNodes } from '../../shared/node/node-images.ts';
import { listNodes, markNode, type NodeInfo } from '../../shared/node/registry.ts';
import { selectNodes } from '../../shared/node/select.ts';
import { parseSelector } from '../../shared/node/selector.ts';
import { queueError } from '../../shared/queue/connection.ts';
import type { Context, QueueConnection } from './context.ts';
import { formatAge, formatBytes, type ListOptions, printList } from './output.ts';

/** `dray nodes` @throws QUEUE_UNAVAILABLE, USAGE */
export async function printNodes(
  context: Context,
  options: ListOptions & { selector?: string },
): Promise<void> {
  const selector = parseSelector(options.selector ?? '');
  const found = await withQueue(context, async ({ redis }, prefix) => {
    const nodes = await listNodes(redis, prefix);
    const { chosen, leftOut } = selectNodes(nodes, selector);
    const names = new Set([...chosen, ...leftOut].map(({ name }) => name));
    const shown = nodes.filter(({ name }) => names.has(name));
    const isWhole = options.output === 'json' || options.output === 'yaml';
    const held = isWhole ? await imagesOfNodes(redis, prefix, [...names]) : undefined;
    return shown.map((node) => ({
      ...node,
      ...(held === undefined ? {} : { holds: held.get(node.name) ?? [] }),
    }));
  });
  const now = new Date();
  printList(found, options, {
    headings: ['NAME', 'STATE', 'IMAGES', 'FREE', 'LABELS', 'SEEN'],
    row: (node) => [
      node.name,
      stateOf(node),
      String(node.images),
      formatBytes(node.disk.diskFree),
      formatLabels(node.labels) || '-',
      formatAge(node.seenAt, now),
    ],
    name: ({ name }) => name,
    wide: {
      headings: ['PLATFORM', 'VERSION', 'CPUS', 'MEMORY', 'DISK', 'CONTAINERS', 'PROBLEMS'],
      row: ({ platform, version, capacity, disk, containers, problems }) => [
        platform,
        version,
        String(capacity.cpus),
        formatBytes(capacity.memoryBytes),
        formatBytes(disk.diskSize),
        String(containers),
        problems.join('; ') || '-',
      ],
    },
  });
  const isShort = options.output === 'table' && options.quiet !== true;
  if (isShort && found.some(({ problems }) => problems.length > 0)) {
    process.stderr.write('! has a problem: dray nodes -o wide shows it\n');
  }
}

/** `dray nodes cordon` and `uncordon` @throws NOT_FOUND */
export async function cordonNodes(
  context: Context,
  names: readonly string[],
  isCordoned: boolean,
): Promise<void> {
  await withQueue(context, async ({ redis }, prefix) => {
    for (const name of names) {
      await markNode(redis, prefix, name, isCordoned ? 'cordoned' : undefined);
      process.stdout.write(`${name}\n`);
    }
  });
}

/** `dray nodes rm` @throws NOT_FOUND; CONFLICT for one whose agent lives */
export async function removeNodes(context: Context, names: readonly string[]): Promise<void> {
  const { forgetNode } = await import('../drain-node.ts');
  await withQueue(context, async ({ redis }, prefix) => {
    for (const name of names) {
      await forgetNode(redis, prefix, name);
      process.stdout.write(`${name}\n`);
    }
  });
}

function stateOf({ state, mark, problems }: NodeInfo): string {
  return [state, ...(mark === undefined ? [] : [mark]), ...(problems.length > 0 ? ['!'] : [])].join(
    ', ',
  );
}

/** Does work with the queue. @throws QUEUE_UNAVAILABLE */
export async function withQueue<T>(
  context: Context,
  work: (queue: QueueConnection, prefix: string) => Promise<T>,
): Promise<T> {
  const { redis: settings } = context.config;
  await using queue = await context.openQueue();
  try {
    return await work(queue, settings.prefix);
  } catch (error) {
    throw queueError(error, settings, queue.redis);
  }
}
