import type { Command } from 'commander';
import { outputOption, progressOption } from '../options.ts';
import type { OutputForm } from '../output.ts';
import type { ProgressForm } from '../progress/view.ts';

interface Options {
  watch?: boolean;
  progress: ProgressForm;
  output: OutputForm;
}

/** `dray pull-status`: shows one pull, or follows it. */
export function register(program: Command): void {
  outputOption(
    program
      .command('pull-status')
      .description('Show one pull as it stands, or follow it to its end as dray pull does.')
      .argument('<id>', 'the id of the pull')
      .option('-w, --watch', 'follow it to its end')
      .addOption(progressOption()),
  )
    .addHelpText(
      'after',
      '\nExit codes: 0 it is ready or goes on, 1 it failed, 3 it is partial.\n\nExamples:\n  dray pull-status -w $(dray pulls -q -n 1)',
    )
    .action(async (id: string, options: Options, command: Command) => {
      const { openContext } = await import('../context.ts');
      const { showPull, watchPull } = await import('../pull-listing.ts');
      const context = await openContext(command);
      if (options.watch === true) await watchPull(context, id, options);
      else await showPull(context, id, options);
    });
}
