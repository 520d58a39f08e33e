import { type Command, InvalidArgumentError } from 'commander';
import { listOptions, progressOption } from '../options.ts';
import type { ListOptions } from '../output.ts';
import type { ProgressForm } from '../progress/view.ts';

/** `dray pulls`: lists pulls, and steers them. */
export function register(program: Command): void {
  const pulls = program
    .command('pulls')
    .description(
      'List pulls, watch, pause, resume and cancel them. Without a verb it lists, with the options of ls.',
    )
    .addHelpText(
      'after',
      `
Examples:
  dray pulls
  dray pulls watch $(dray pulls -q -n 1)
  dray pulls pause mgx2k1a93f0c11ab
  dray pulls resume mgx2k1a93f0c11ab
  dray pulls cancel $(dray pulls -q -n 1)`,
    );
  listOptions(
    pulls
      .command('ls', { isDefault: true })
      .summary('list pulls')
      .description(
        'List pulls, the newest first: those that go on, and those that ended within a week.',
      )
      .option('-n, --limit <count>', 'at most so many', positive, 50),
    'only the ids',
  ).action(async (options: ListOptions & { limit: number }, command: Command) => {
    const { openContext } = await import('../context.ts');
    const { printPulls } = await import('../pull-listing.ts');
    await printPulls(await openContext(command), options);
  });

  pulls
    .command('watch')
    .summary('follow a pull to its end')
    .description('Follow a pull to its end, as dray pull does: its blobs, and each node.')
    .argument('<id>', 'the id of the pull')
    .addOption(progressOption())
    .action(async (id: string, options: { progress: ProgressForm }, command: Command) => {
      const { openContext } = await import('../context.ts');
      const { watchPull } = await import('../pull-listing.ts');
      await watchPull(await openContext(command), id, options);
    });

  const steer = (verb: 'pause' | 'resume' | 'cancel', summary: string, description: string) =>
    pulls
      .command(verb)
      .summary(summary)
      .description(description)
      .argument('<id...>', 'the ids of the pulls')
      .action(async (ids: string[], _options: object, command: Command) => {
        const { openContext } = await import('../context.ts');
        const { steerPulls } = await import('../pull-listing.ts');
        await steerPulls(await openContext(command), ids, verb);
      });
  steer(
    'pause',
    'let no further node begin',
    'Let no further node of pulls begin. Nodes that are under way go on, and so do deadlines.',
  );
  steer('resume', 'let nodes begin again', 'Let nodes of pulls begin again.');
  steer(
    'cancel',
    'end pulls that nobody wants any more',
    'End pulls that nobody wants any more, as dray cancel does.',
  );
}

function positive(text: string): number {
  const value = Number(text);
  if (Number.isSafeInteger(value) && value > 0) return value;
  throw new InvalidArgumentError('It must be a number above 0.');
}
