import { Pulls } from '../../shared/pull/pulls.ts';
import { PullSummaries, type PullSummary } from '../../shared/pull/summary.ts';
import { queueError } from '../../shared/queue/connection.ts';
import { type Steering, steerPull } from '../steer-pull.ts';
import type { Context } from './context.ts';
import { failureOf, followPull, pullUnknown } from './follow-pull.ts';
import {
  formatAge,
  formatBytes,
  formatBytesOf,
  formatDuration,
  type ListOptions,
  type OutputForm,
  printable,
  printList,
  printValue,
} from './output.ts';
import { renderLines } from './progress/frame.ts';
import { progressLines } from './progress/lines.ts';
import { summaryLine } from './progress/summary.ts';
import type { ProgressForm } from './progress/view.ts';
import { pinnedReference } from './pull.ts';
import { fromQueue } from './pull-source.ts';

/** `dray pulls` */
export async function printPulls(
  context: Context,
  options: ListOptions & { limit: number },
): Promise<void> {
  const { redis: settings } = context.config;
  await using queue = await context.openQueue();
  const summaries = new PullSummaries(queue.redis, settings.prefix);
  const pulls = await summaries.list({ limit: options.limit }).catch((error: unknown) => {
    throw queueError(error, settings, queue.redis);
  });
  const now = new Date();
  printList(pulls, options, {
    headings: ['ID', 'REF', 'STATE', 'BYTES', 'NODES', 'CREATED'],
    elastic: 'REF',
    row: (pull) => [
      pull.id,
      pull.reference,
      pull.state,
      bytesOf(pull),
      nodesOf(pull),
      formatAge(pull.createdAt, now),
    ],
    name: ({ id }) => id,
    wide: {
      headings: ['PRIORITY', 'PLATFORM', 'TOOK', 'DIGEST'],
      row: ({ priority, platform, createdAt, finishedAt, target }) => [
        priority,
        platform,
        finishedAt === undefined ? '-' : formatDuration(finishedAt.getTime() - createdAt.getTime()),
        target?.digest ?? '-',
      ],
    },
  });
}

/** `dray pull-status` @throws why the pull failed, after it was shown; NOT_FOUND */
export async function showPull(
  context: Context,
  id: string,
  options: { output: OutputForm },
): Promise<void> {
  const status = await looking(context, (pulls) => pulls.get(id));
  if (status === undefined) throw pullUnknown(id);
  printValue(status, options.output, () => {
    const end = status.finishedAt ?? new Date();
    const lines = renderLines(progressLines(status, { localNode: context.config.agent.node }), {
      width: process.stdout.columns || 120,
      color: process.stdout.isTTY && (process.env.NO_COLOR ?? '') === '',
    });
    if (status.note !== undefined) lines.push(printable(status.note));
    lines.push(summaryLine(status, end.getTime() - status.createdAt.getTime()));
    return `${lines.join('\n')}\n`;
  });
  const failure = failureOf(status);
  if (failure !== undefined) throw failure;
}

/** `dray pull-status -w` @throws why the pull failed, NOT_FOUND, CANCELLED */
export async function watchPull(
  context: Context,
  id: string,
  options: { progress: ProgressForm },
): Promise<void> {
  await using queue = await context.openQueue();
  const found = await looking(context, (pulls) => pulls.get(id));
  if (found === undefined) throw pullUnknown(id);
  const end = found.finishedAt ?? new Date();
  const begun = performance.now() - (end.getTime() - found.createdAt.getTime());
  const status = await followPull(context, fromQueue(context, queue), id, { ...options, begun });
  const failure = failureOf(status);
  if (failure !== undefined) throw failure;
  process.stdout.write(`${pinnedReference(status)}\n`);
}

/** `dray pulls pause`, `resume` and `cancel` @throws NOT_FOUND, and CONFLICT for a pull that had ended already */
export async function steerPulls(
  context: Context,
  ids: readonly string[],
  steering: Steering,
): Promise<void> {
  const { redis: settings } = context.config;
  await using queue = await context.openQueue();
  for (const id of ids) {
    await steerPull(queue.redis, settings.prefix, id, steering).catch((error: unknown) => {
      throw queueError(error, settings, queue.redis);
    });
    process.stdout.write(`${id}\n`);
  }
}

async function looking<T>(context: Context, look: (pulls: Pulls) => Promise<T>): Promise<T> {
  await using queue = await context.openQueue();
  try {
    return await look(new Pulls(queue.redis, context.config.redis.prefix));
  } catch (error) {
    throw queueError(error, context.config.redis, queue.redis);
  }
}

function bytesOf({ blobs, state }: PullSummary): string {
  if (blobs.total === 0) return '-';
  return state === 'ready' ? formatBytes(blobs.size) : formatBytesOf(blobs.bytes, blobs.size);
}

function nodesOf({ nodes: { total, ready } }: PullSummary): string {
  return total === 0 ? '-' : `${ready}/${total} ready`;
}
