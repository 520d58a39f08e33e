import type { Command } from 'commander';
import { outputOption } from '../options.ts';
import type { ListOptions } from '../output.ts';

/** `dray status`: what runs, and how it is. */
export function register(program: Command): void {
  outputOption(
    program
      .command('status')
      .description(
        'Show the parts of the embedded fleet, or of the configured one, and how they are.',
      )
      .addHelpText(
        'after',
        '\nExit codes: 0 everything is well, 1 something is not.\n\nExamples:\n  dray status\n  dray status -o json\n  dray status >/dev/null || dray doctor',
      ),
  ).action(async (options: Pick<ListOptions, 'output'>, command: Command) => {
    const { openContext } = await import('../context.ts');
    const { printStatus } = await import('../fleet-status.ts');
    process.exitCode = (await printStatus(await openContext(command), options)) ? 0 : 1;
  });
}
