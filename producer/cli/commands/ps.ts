import type { Command } from 'commander';
import { listOptions } from '../options.ts';
import type { ListOptions } from '../output.ts';

interface Options extends ListOptions {
  all?: boolean;
}

/** `dray ps`: the node's containers. */
export function register(program: Command): void {
  listOptions(
    program
      .command('ps')
      .description('List containers that run, are paused, or will be started again.')
      .option('-a, --all', 'those that do not run, too'),
    'only the ids',
  )
    .addHelpText(
      'after',
      '\nExamples:\n  dray ps\n  dray ps -a -o wide\n  dray rm $(dray ps -a -q)',
    )
    .action(async (options: Options, command: Command) => {
      const { openContext } = await import('../context.ts');
      const { containerColumns } = await import('../container-table.ts');
      const { printList } = await import('../output.ts');
      const { aliveStates } = await import('../../../shared/agent/containers.ts');
      const client = await (await openContext(command)).agent();
      const found = await client.containers.list();
      const shown = found.filter(({ state }) => options.all === true || aliveStates.has(state));
      const isTable = options.output === 'table' || options.output === 'wide';
      const columns = containerColumns(options.output, new Date());
      // People look for the newest.
      printList(isTable && options.quiet !== true ? shown.toReversed() : shown, options, columns);
    });
}
