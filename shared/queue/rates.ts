import type { Queue } from 'bullmq';

/** Minutes that are remembered, by {@link rateOf}'s measure too. */
export const rateMinutes = 60;

/** How many jobs ended a minute, the oldest minute first; the last one is not over. */
export interface QueueRate {
  completed: number[];
  failed: number[];
}

/** What a queue's workers have counted within the last hour. */
export async function rateOf(queue: Queue, now = Date.now()): Promise<QueueRate> {
  const [completed, failed] = await Promise.all([
    queue.getMetrics('completed'),
    queue.getMetrics('failed'),
  ]);
  return { completed: minutesOf(completed, now), failed: minutesOf(failed, now) };
}

type Metrics = Awaited<ReturnType<Queue['getMetrics']>>;

/** BullMQ counts up to the minute in which a job ended last, which it keeps apart from those before it. */
function minutesOf({ meta, data }: Metrics, now: number): number[] {
  const silent = Math.floor(now / 60_000) - Math.floor(meta.prevTS / 60_000);
  const newestFirst = [meta.count - meta.prevCount, ...data];
  return Array.from({ length: rateMinutes }, (_, i) => {
    const minute = rateMinutes - 1 - i - silent;
    return minute < 0 ? 0 : (newestFirst[minute] ?? 0);
  });
}
