import { type Command, InvalidArgumentError } from 'commander';
import { listOptions } from '../options.ts';
import type { ListOptions } from '../output.ts';

/** `dray pulls`: lists pulls. */
export function register(program: Command): void {
  listOptions(
    program
      .command('pulls')
      .description(
        'List pulls, the newest first: those that go on, and those that ended within a week.',
      )
      .option('-n, --limit <count>', 'at most so many', positive, 50),
    'only the ids',
  )
    .addHelpText('after', '\nExamples:\n  dray pulls\n  dray pull-status -w $(dray pulls -q -n 1)')
    .action(async (options: ListOptions & { limit: number }, command: Command) => {
      const { openContext } = await import('../context.ts');
      const { printPulls } = await import('../pull-listing.ts');
      await printPulls(await openContext(command), options);
    });
}

function positive(text: string): number {
  const value = Number(text);
  if (Number.isSafeInteger(value) && value > 0) return value;
  throw new InvalidArgumentError('It must be a number above 0.');
}
