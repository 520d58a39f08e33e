import type { ContainerStatus } from '../../shared/agent/containers.ts';
import { ageOf } from '../../shared/duration.ts';
import { type Columns, cutText, formatAge, type OutputForm } from './output.ts';

const widestCommand = 40;

/** What `dray ps` shows. */
export function containerColumns(form: OutputForm, now: Date): Columns<ContainerStatus> {
  const commandWidth = form === 'wide' ? Number.POSITIVE_INFINITY : widestCommand;
  return {
    headings: ['ID', 'IMAGE', 'COMMAND', 'STATUS', 'CREATED'],
    row: (container) => [
      container.id,
      container.image,
      commandOf(container, commandWidth),
      statusOf(container, now),
      formatAge(new Date(container.createdAt), now),
    ],
    name: ({ id }) => id,
    elastic: 'COMMAND',
    wide: {
      headings: ['PID', 'MANIFEST'],
      row: ({ pid, manifest }) => [String(pid ?? '-'), manifest],
    },
  };
}

function commandOf({ args }: ContainerStatus, width: number): string {
  // An image's command may have anything in it, also what a terminal obeys.
  return cutText(args.join(' ').replaceAll(/[\p{Cc}\p{Cf}]/gu, '?'), width);
}

function statusOf(container: ContainerStatus, now: Date): string {
  const { state, exitCode, startedAt, finishedAt } = container;
  if (state === 'running' && startedAt !== undefined) {
    return `running ${ageOf(new Date(startedAt), now)}`;
  }
  if (state === 'exited' && finishedAt !== undefined) {
    return `exited (${exitCode ?? '?'}) ${formatAge(new Date(finishedAt), now)}`;
  }
  return state;
}
