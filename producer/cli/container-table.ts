import type { ContainerStatus } from '../../shared/agent/containers.ts';
import { fitTable } from './output.ts';

const widestCommand = 40;
/** On a terminal that is less than 100 columns wide. */
const narrowCommand = 16;

/** Containers as a table for people, newest first. @param width columns of the terminal, if it is one */
export function containerTable(
  containers: readonly ContainerStatus[],
  now: Date,
  width?: number,
): string {
  const commandWidth = (width ?? 100) < 100 ? narrowCommand : widestCommand;
  const rows = containers
    .toReversed()
    .map((container) => [
      container.id,
      container.image,
      commandOf(container, commandWidth),
      statusOf(container, now),
      `${age(container.createdAt, now)} ago`,
    ]);
  return fitTable(['ID', 'IMAGE', 'COMMAND', 'STATUS', 'CREATED'], rows, width);
}

function commandOf({ args }: ContainerStatus, width: number): string {
  // An image's command may have anything in it, also what a terminal obeys.
  const text = args.join(' ').replaceAll(/[\p{Cc}\p{Cf}]/gu, '?');
  return text.length > width ? `${text.slice(0, width - 1)}…` : text;
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
