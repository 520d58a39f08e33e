import { DrayError } from '../../shared/errors.ts';
import { queueError } from '../../shared/queue/connection.ts';
import { type FleetLimits, RegistryLimits } from '../../shared/registry/limits.ts';
import type { Context } from './context.ts';
import { parseRegistry } from './login.ts';
import { formatBytes, type ListOptions, printList } from './output.ts';

export interface LimitChange {
  /** Drops the limits that there were. */
  clear: boolean;
  rate?: number;
  burst?: number;
  concurrent?: number;
  bandwidth?: number;
  workerBandwidth?: number;
}

/** Changes those limits of a registry that are given. @throws USAGE, QUEUE_UNAVAILABLE */
export async function changeLimits(
  context: Context,
  host: string | undefined,
  { clear, ...given }: LimitChange,
): Promise<void> {
  if (host === undefined) {
    throw new DrayError('USAGE', 'Limits are set for one registry', {
      hint: 'As in: dray registry limits docker.io --rate 5',
    });
  }
  const registry = parseRegistry(host);
  const change = Object.entries({
    requestsPerSecond: given.rate,
    burst: given.burst,
    concurrent: given.concurrent,
    bytesPerSecond: given.bandwidth,
    workerBytesPerSecond: given.workerBandwidth,
  } satisfies FleetLimits).filter(([, value]) => value !== undefined);
  await withLimits(context, async (limits) => {
    const before = clear ? {} : await limits.get(registry);
    await limits.set(registry, { ...before, ...Object.fromEntries(change) });
  });
}

/** `dray registry limits` */
export async function printLimits(
  context: Context,
  host: string | undefined,
  options: ListOptions,
): Promise<void> {
  const wanted = host === undefined ? undefined : parseRegistry(host);
  const all = await withLimits(context, (limits) => limits.list());
  const shown = all.filter((registry) => wanted === undefined || registry.host === wanted);
  const bandwidth = (bytes: number | undefined) =>
    bytes === undefined ? '-' : `${formatBytes(bytes)}/s`;
  printList(shown, options, {
    headings: [
      'REGISTRY',
      'REQUESTS',
      'BURST',
      'AT ONCE',
      'BANDWIDTH',
      'PER WORKER',
      'LEFT',
      'PAUSED',
    ],
    row: ({ host: registry, limits, quota, pausedUntil }) => [
      registry,
      limits.requestsPerSecond === undefined ? '-' : `${limits.requestsPerSecond}/s`,
      String(limits.burst ?? '-'),
      String(limits.concurrent ?? '-'),
      bandwidth(limits.bytesPerSecond),
      bandwidth(limits.workerBytesPerSecond),
      quota === undefined
        ? '-'
        : `${quota.left}${quota.limit === undefined ? '' : ` of ${quota.limit}`}`,
      pausedUntil === undefined ? '-' : `until ${pausedUntil.toISOString()}`,
    ],
    name: ({ host: registry }) => registry,
  });
}

async function withLimits<T>(
  context: Context,
  use: (limits: RegistryLimits) => Promise<T>,
): Promise<T> {
  await using queue = await context.openQueue();
  try {
    return await use(new RegistryLimits(queue.redis, context.config.redis.prefix));
  } catch (error) {
    throw queueError(error, context.config.redis, queue.redis);
  }
}
