import type { Command } from 'commander';
import { outputOption } from '../options.ts';
import type { OutputForm } from '../output.ts';

interface Options {
  output: OutputForm;
  stream: boolean;
}

/** `dray stats`: shows what containers use. */
export function register(program: Command): void {
  outputOption(
    program
      .command('stats')
      .description('Show what containers that run use, anew every second.')
      .argument('[id...]', 'the containers (default: all that run)')
      .option('--no-stream', 'only once'),
  )
    .addHelpText(
      'after',
      `
CPU is of the last second, 100 % for each processor. Memory is without the cache
of files. Network and disk count from the start of the container.

Examples:
  dray stats
  dray stats web`,
    )
    .action(async (ids: string[], options: Options, command: Command) => {
      const { openContext } = await import('../context.ts');
      const { showStats } = await import('../stats.ts');
      await showStats(await (await openContext(command)).agent(), ids, options);
    });
}
