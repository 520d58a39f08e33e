import type { DesiredSets } from '../../shared/desired/desired-sets.ts';
import { type DesiredSetStatus, statusOfSet } from '../../shared/desired/set-status.ts';
import { DrayError } from '../../shared/errors.ts';
import { listNodes } from '../../shared/node/registry.ts';
import { queueError, type Redis } from '../../shared/queue/connection.ts';
import type { Context } from './context.ts';
import { formatAge, type ListOptions, printList } from './output.ts';

/** `dray desired` */
export async function printDesired(context: Context, options: ListOptions): Promise<void> {
  const { prefix } = context.config.redis;
  const found = await withSets(context, async (sets, redis) => {
    const nodes = await listNodes(redis, prefix);
    const all = await sets.list();
    return await Promise.all(all.map((set) => statusOfSet(set, nodes, { redis, prefix })));
  });
  const now = new Date();
  printList(found, options, {
    headings: ['NAME', 'REF', 'SELECTOR', 'READY', 'SCHEDULE'],
    row: (set) => [
      set.name,
      set.reference,
      set.selector === '' ? '(all)' : set.selector,
      set.current === undefined ? 'not resolved yet' : `${set.nodes.ready}/${set.nodes.total}`,
      scheduleOf(set),
    ],
    name: ({ name }) => name,
    wide: {
      headings: ['PLATFORM', 'DIGEST', 'SINCE', 'KEEPS', 'UNTIL'],
      row: ({ platform, current, retention, previous }) => [
        platform,
        current?.target.digest ?? '-',
        current === undefined ? '-' : formatAge(current.since, now),
        `${previous.length} of ${retention.previous} earlier`,
        retention.until?.toISOString() ?? '-',
      ],
    },
  });
}

/** `dray desired rm` @throws NOT_FOUND */
export async function removeDesired(context: Context, names: readonly string[]): Promise<void> {
  await withSets(context, async (sets) => {
    for (const name of names) {
      if (!(await sets.remove(name))) {
        throw new DrayError('NOT_FOUND', `There is no desired set ${name}`, {
          hint: 'dray desired lists them.',
        });
      }
      process.stdout.write(`${name}\n`);
    }
  });
}

function scheduleOf({ schedule, nextLook }: DesiredSetStatus): string {
  if (schedule === undefined) return '-';
  return nextLook === undefined
    ? schedule
    : `${schedule} (next ${nextLook.toISOString().slice(0, 16)}Z)`;
}

async function withSets<T>(
  context: Context,
  work: (sets: DesiredSets, redis: Redis) => Promise<T>,
): Promise<T> {
  const { redis: settings } = context.config;
  const { DesiredSets } = await import('../../shared/desired/desired-sets.ts');
  await using queue = await context.openQueue();
  await using store = await context.openStore();
  try {
    return await work(new DesiredSets(queue.redis, settings.prefix, store.desired), queue.redis);
  } catch (error) {
    throw queueError(error, settings, queue.redis);
  }
}
