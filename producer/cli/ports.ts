import type { Command } from 'commander';
import type { PortMapping } from '../../shared/agent/run-options.ts';
import { DrayError } from '../../shared/errors.ts';
import { openContext } from './context.ts';

/** `dray port`. @throws NOT_FOUND when nothing leads to the port that was named; USAGE */
export async function printPorts(
  command: Command,
  id: string,
  wanted: string | undefined,
): Promise<void> {
  const [, number, protocol = 'tcp'] = /^(\d{1,5})(?:\/(tcp|udp|sctp))?$/.exec(wanted ?? '') ?? [];
  if (wanted !== undefined && number === undefined) {
    throw new DrayError('USAGE', `"${wanted}" is no port`, {
      hint: `Write dray port ${id} 80, or 53/udp.`,
    });
  }
  const client = await (await openContext(command)).agent();
  const { network, state } = await client.containers.inspect(id);
  const found = network.ports.filter(
    (port) =>
      wanted === undefined || (port.containerPort === Number(number) && port.protocol === protocol),
  );
  if (wanted !== undefined && found.length === 0) {
    throw new DrayError(
      'NOT_FOUND',
      `No port of the node leads to ${number}/${protocol} of ${id}`,
      {
        hint:
          state === 'running'
            ? `dray port ${id} prints those that do.`
            : `It is ${state}: ports are chosen when it starts.`,
      },
    );
  }
  for (const port of found) {
    const { containerPort, protocol } = port;
    const inside = wanted === undefined ? `${containerPort}/${protocol} -> ` : '';
    process.stdout.write(`${inside}${outside(port)}\n`);
  }
}

function outside({ hostIP = '0.0.0.0', hostPort }: PortMapping): string {
  return `${hostIP.includes(':') ? `[${hostIP}]` : hostIP}:${hostPort}`;
}
