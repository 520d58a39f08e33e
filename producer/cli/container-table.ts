import type { ContainerStatus } from '../../shared/agent/containers.ts';
import { ageOf } from '../../shared/duration.ts';
import { type Columns, formatAge, type OutputForm } from './output.ts';

const widestCommand = 40;
/** On a terminal that is less than 100 columns wide. */
const narrowCommand = 16;

/** What `dray ps` shows. @param width columns of the terminal, if it is one */
export function containerColumns(
  form: OutputForm,
  now: Date,
  width: number | undefined,
): Columns<ContainerStatus> {
  const narrowed = (width ?? 100) < 100 ? narrowCommand : widestCommand;
  const commandWidth = form === 'wide' ? Number.POSITIVE_INFINITY : narrowed;
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
    wide: {
      headings: ['PID', 'MANIFEST'],
      row: ({ pid, manifest }) => [String(pid ?? '-'), manifest],
    },
  };
}

function commandOf({ args }: ContainerStatus, width: number): string {
  // An image's command may have anything in it, also what a terminal obeys.
  const text = args.join(' ').replaceAll(/[\p{Cc}\p{Cf}]/gu, '?');
  return text.length > width ? `${text.slice(0, width - 1)}…` : text;
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
