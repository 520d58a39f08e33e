import { setTimeout as sleep } from 'node:timers/promises';
import type { ContainerStats } from '../../shared/agent/observe.ts';
import type { AgentClient } from '../agent/client.ts';
import { writeOut } from './foreground.ts';
import { formatBytes, formatList, type OutputForm, outputWidth } from './output.ts';

/** Milliseconds between two looks. */
const interval = 1_000;
/** Clears a terminal and goes to its first place. */
const clear = '\x1b[H\x1b[2J';

interface Usage extends ContainerStats {
  /** Of one processor. */
  cpuPercent: number;
}

/** `dray stats` @throws NOT_FOUND for an id that there is not */
export async function showStats(
  client: AgentClient,
  ids: readonly string[],
  options: { output: OutputForm; stream: boolean },
): Promise<void> {
  for (const id of ids) await client.containers.inspect(id);
  const isLive = options.stream && options.output === 'table' && process.stdout.isTTY;
  for (let before = await client.containers.stats(); ; ) {
    await sleep(interval);
    const now = await client.containers.stats();
    const text = format(usage(before, now, ids), options.output);
    if (!(await writeOut(process.stdout, Buffer.from(isLive ? clear + text : text)))) return;
    if (!options.stream) return;
    before = now;
  }
}

function usage(
  before: readonly ContainerStats[],
  now: readonly ContainerStats[],
  ids: readonly string[],
): Usage[] {
  return now
    .filter(({ id }) => ids.length === 0 || ids.includes(id))
    .map((stats) => {
      const last = before.find(({ id }) => id === stats.id);
      const ms = last === undefined ? 0 : Date.parse(stats.at) - Date.parse(last.at);
      const used = stats.cpuNanoseconds - (last?.cpuNanoseconds ?? 0);
      return { ...stats, cpuPercent: ms <= 0 ? 0 : Math.max(0, used / ms / 10_000) };
    });
}

function format(items: readonly Usage[], output: OutputForm): string {
  return formatList(
    items,
    { output },
    {
      headings: ['ID', 'CPU', 'MEMORY', 'LIMIT', 'PIDS', 'NET IN', 'NET OUT', 'READ', 'WRITTEN'],
      row: ({ id, cpuPercent, memoryBytes, memoryLimitBytes, processes, network, disk }) => [
        ...[id, `${cpuPercent.toFixed(1)} %`, formatBytes(memoryBytes)],
        ...[formatBytes(memoryLimitBytes), String(processes)],
        ...(network === undefined
          ? ['-', '-']
          : [formatBytes(network.receivedBytes), formatBytes(network.sentBytes)]),
        ...[formatBytes(disk.readBytes), formatBytes(disk.writtenBytes)],
      ],
      name: ({ id }) => id,
    },
    outputWidth(),
  );
}
