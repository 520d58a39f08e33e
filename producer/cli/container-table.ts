import type { ContainerStatus } from '../../shared/agent/containers.ts';
import type { PortMapping } from '../../shared/agent/run-options.ts';
import { ageOf } from '../../shared/duration.ts';
import { type Columns, cutText, formatAge, type OutputForm } from './output.ts';

const widestCommand = 40;

/** What `dray ps` shows. */
export function containerColumns(form: OutputForm, now: Date): Columns<ContainerStatus> {
  const commandWidth = form === 'wide' ? Number.POSITIVE_INFINITY : widestCommand;
  return {
    headings: ['ID', 'IMAGE', 'COMMAND', 'STATUS', 'CREATED', 'PORTS'],
    row: (container) => [
      container.id,
      container.image,
      commandOf(container, commandWidth),
      statusOf(container, now),
      formatAge(new Date(container.createdAt), now),
      portsOf(container.network.ports),
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
  const { state, exitCode, startedAt, killAt, finishedAt, health } = container;
  if (state === 'running' && startedAt !== undefined) {
    const stopping = killAt === undefined ? '' : ' (stopping)';
    const checked = health === undefined ? '' : ` (health: ${health.state})`;
    return `running ${ageOf(new Date(startedAt), now)}${stopping}${checked}`;
  }
  if ((state === 'exited' || state === 'restarting') && finishedAt !== undefined) {
    return `${state} (${exitCode ?? '?'}) ${formatAge(new Date(finishedAt), now)}`;
  }
  return state;
}

/** `127.0.0.1:8080->80/tcp`; ports in a row are one range. */
function portsOf(ports: readonly PortMapping[]): string {
  const ranges: { first: PortMapping; length: number }[] = [];
  for (const port of ports) {
    const last = ranges.at(-1);
    const goesOn =
      last !== undefined &&
      last.first.hostIP === port.hostIP &&
      last.first.protocol === port.protocol &&
      last.first.hostPort + last.length === port.hostPort &&
      last.first.containerPort + last.length === port.containerPort;
    if (goesOn) last.length++;
    else ranges.push({ first: port, length: 1 });
  }
  const span = (from: number, length: number) =>
    length === 1 ? `${from}` : `${from}-${from + length - 1}`;
  const shown = ranges.map(({ first, length }) => {
    const { hostIP, hostPort, containerPort, protocol } = first;
    const ip = hostIP?.includes(':') === true ? `[${hostIP}]` : hostIP;
    const outside = `${ip === undefined ? '' : `${ip}:`}${span(hostPort, length)}`;
    return `${outside}->${span(containerPort, length)}/${protocol}`;
  });
  return shown.length === 0 ? '-' : shown.join(', ');
}
