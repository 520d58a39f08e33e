import type { Command } from 'commander';
import { listOptions } from '../options.ts';
import type { ListOptions } from '../output.ts';

/** `dray nodes`: lists the nodes of the fleet. */
export function register(program: Command): void {
  listOptions(
    program
      .command('nodes')
      .description(
        'List the nodes of the fleet. One whose agent was not heard of for 30 s is shown as lost.',
      ),
    'only the names',
  ).action(async (options: ListOptions, command: Command) => {
    const { openContext } = await import('../context.ts');
    const { printNodes } = await import('../node-listing.ts');
    await printNodes(await openContext(command), options);
  });
}
