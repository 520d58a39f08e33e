import { setTimeout as sleep } from 'node:timers/promises';
import { connectRedis, queueError, redactUrl } from '../../../shared/queue/connection.ts';
import type { Context } from '../context.ts';
import { Interrupt } from '../interrupt.ts';
import { type OutputForm, printValue } from '../output.ts';
import { Rates } from '../progress/rates.ts';
import { type FleetView, FleetWatch } from './fleet-view.ts';
import { topFrame } from './frame.ts';
import { Screen } from './screen.ts';

/** Milliseconds after which a Redis that does not answer is said to. */
const lookBound = 3_000;
const keys = 'q quit   space redraw';

/**
 * `dray top`: a live view on a terminal, else how the fleet stands now.
 * @throws QUEUE_UNAVAILABLE where it is printed once
 */
export async function watchFleet(
  context: Context,
  options: { output: OutputForm; once?: boolean; intervalMs: number },
): Promise<void> {
  await context.fleet();
  const { redis: target } = context.config;
  const isLive = process.stdout.isTTY && options.once !== true && options.output === 'table';
  // A live view outlasts a Redis that is started again.
  const redis = connectRedis(target, { name: 'top', patient: isLive });
  await using watch = new FleetWatch(redis, target.prefix);
  const place = redactUrl(target.url);
  const color = process.stdout.isTTY && (process.env.NO_COLOR ?? '') === '';
  try {
    if (isLive) {
      await drawForever(watch, { ...options, place, color });
      return;
    }
    const view = await watch.look();
    printValue(view, options.output, () => {
      const width = process.stdout.isTTY ? process.stdout.columns : Number.MAX_SAFE_INTEGER;
      const frame = { width, height: 10_000, color, now: new Date(), place };
      return `${topFrame(view, frame)
        .map((line) => line.trimEnd())
        .join('\n')}\n`;
    });
  } catch (error) {
    throw queueError(error, target, redis);
  } finally {
    redis.disconnect();
  }
}

async function drawForever(
  watch: FleetWatch,
  options: { place: string; color: boolean; intervalMs: number },
): Promise<void> {
  using interrupt = new Interrupt();
  const quit = new AbortController();
  const signal = AbortSignal.any([interrupt.signal, quit.signal]);
  const rates = new Rates();
  let view: FleetView = { queues: [], nodes: [], pulls: [], open: 0 };
  let problem: string | undefined = 'looking at the fleet …';
  const draw = () => {
    const now = performance.now();
    screen.draw(
      topFrame(view, {
        ...options,
        ...screen.size,
        ...{ now: new Date(), keys },
        ...(problem === undefined ? {} : { problem }),
        rate: ({ id, blobs }) => rates.rate(id, blobs.bytes, now),
      }),
    );
  };
  using screen = new Screen(
    { input: process.stdin, output: process.stdout },
    {
      key: (key) => {
        // Raw input has Ctrl-C as a byte.
        if (key === 'q' || key === 'Q' || key === '\x03') quit.abort();
        else if (key === ' ') draw();
      },
      resize: draw,
    },
  );
  draw();
  while (!signal.aborted) {
    const looking = watch.look();
    const late = sleep(lookBound, undefined, { signal, ref: false });
    try {
      const seen = await Promise.race([looking, late]);
      if (seen !== undefined) view = seen;
      problem = seen === undefined ? `Redis at ${options.place} does not answer` : undefined;
    } catch (error) {
      if (signal.aborted) break;
      problem = error instanceof Error ? error.message : String(error);
    } finally {
      looking.catch(() => {});
      late.catch(() => {});
    }
    draw();
    await sleep(options.intervalMs, undefined, { signal }).catch(() => {});
  }
}
