import type { ContainerStatus } from '../../shared/agent/containers.ts';

const widestCommand = 40;

/** Containers as a table for people, newest first. */
export function containerTable(containers: readonly ContainerStatus[], now: Date): string {
  const rows = containers
    .toReversed()
    .map((container) => [
      container.id,
      container.image,
      commandOf(container),
      statusOf(container, now),
      `${age(container.createdAt, now)} ago`,
    ]);
  const table = [['ID', 'IMAGE', 'COMMAND', 'STATUS', 'CREATED'], ...rows];
  const widths = [0, 1, 2, 3].map((i) => Math.max(...table.map((row) => row[i]?.length ?? 0)));
  return table
    .map((row) => `${row.map((cell, i) => cell.padEnd(widths[i] ?? 0)).join('   ')}\n`)
    .join('');
}

function commandOf({ args }: ContainerStatus): string {
  // An image's command may have anything in it, also what a terminal obeys.
  const text = args.join(' ').replaceAll(/[\p{Cc}\p{Cf}]/gu, '?');
  return text.length > widestCommand ? `${text.slice(0, widestCommand - 1)}…` : text;
}

function statusOf(container: ContainerStatus, now: Date): string {
  const { state, exitCode, startedAt, finishedAt } = container;
  if (state === 'running' && startedAt !== undefined) return `running ${age(startedAt, now)}`;
  if (state === 'exited' && finishedAt !== undefined) {
    return `exited (${exitCode ?? '?'}) ${age(finishedAt, now)} ago`;
  }
  return state;
}

const units: [string, number][] = [
  ['d', 86_400],
  ['h', 3_600],
  ['min', 60],
];

/** The time since then in its largest whole unit. */
function age(since: string, now: Date): string {
  const seconds = Math.max(0, Math.round((now.getTime() - Date.parse(since)) / 1000));
  for (const [unit, size] of units)
    if (seconds >= size) return `${Math.floor(seconds / size)} ${unit}`;
  return `${seconds} s`;
}
