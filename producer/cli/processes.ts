import type { AgentClient } from '../agent/client.ts';
import { formatDuration, type ListOptions, printList } from './output.ts';

/** `dray top ID`: the processes of a container. @throws NOT_FOUND, CONFLICT when it does not run */
export async function printProcesses(
  client: AgentClient,
  id: string,
  options: ListOptions,
): Promise<void> {
  printList(await client.containers.processes(id), options, {
    headings: ['PID', 'OWN PID', 'UID', 'STATE', 'CPU', 'COMMAND'],
    row: ({ pid, ownPid, uid, state, cpuMilliseconds, command }) => [
      ...[String(pid), String(ownPid), String(uid), state],
      ...[formatDuration(cpuMilliseconds), command],
    ],
    name: ({ pid }) => String(pid),
  });
}
