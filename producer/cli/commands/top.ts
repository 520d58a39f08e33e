import { type Command, InvalidArgumentError } from 'commander';
import { outputOption } from '../options.ts';
import type { OutputForm } from '../output.ts';

/** `dray top`: a live view of the fleet, or the processes of a container. */
export function register(program: Command): void {
  outputOption(
    program
      .command('top')
      .description(
        'Watch the fleet: queues, open pulls with their bytes, and nodes, until q or Ctrl-C. Where standard output is no terminal, or with -o json, it is printed once.',
      )
      .argument('[id]', 'a container, whose processes are listed instead')
      .option('--node <name>', 'of the container, if that is on another node of the fleet')
      .option('--once', 'print it once')
      .option('--interval <seconds>', 'between two looks', seconds, 1),
  )
    .addHelpText(
      'after',
      `
Examples:
  dray top
  dray top --interval 5
  dray top --once
  dray top web
  dray top -o json | jq '.queues'`,
    )
    .action(
      async (
        id: string | undefined,
        options: { output: OutputForm; once?: boolean; interval: number },
        command: Command,
      ) => {
        const { openContext } = await import('../context.ts');
        if (id !== undefined) {
          const { printProcesses } = await import('../processes.ts');
          await printProcesses(await (await openContext(command)).agent(), id, options);
          return;
        }
        const { watchFleet } = await import('../top/top.ts');
        const { interval, ...others } = options;
        await watchFleet(await openContext(command), { ...others, intervalMs: interval * 1_000 });
      },
    );
}

function seconds(text: string): number {
  if (/^\d{1,4}(\.\d+)?$/.test(text) && Number(text) >= 0.1) return Number(text);
  throw new InvalidArgumentError('It is a number of seconds, 0.1 at least.');
}
