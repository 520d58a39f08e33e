import type { Command } from 'commander';
import { refuseTemplates } from '../no-templates.ts';
import { collect, listOptions } from '../options.ts';
import type { ListOptions } from '../output.ts';

export interface PsOptions extends ListOptions {
  all?: boolean;
  filter?: string[];
  last?: string;
  latest?: boolean;
  /** False with --no-trunc. */
  trunc: boolean;
}

/** `dray ps`: the node's containers. */
export function register(program: Command): void {
  const command = listOptions(
    program
      .command('ps')
      .description('List containers that run, are paused, or will be started again.')
      .option('-a, --all', 'those that do not run, too')
      .option(
        '-f, --filter <KEY=VALUE>',
        'id, name, status, exited, health, label, ancestor, network or volume',
        collect,
      )
      .option('-n, --last <number>', 'so many that were made last, in whatever state')
      .option('-l, --latest', 'the one that was made last')
      .option('--no-trunc', 'nothing is shortened: the same as -o wide'),
    'only the ids',
  );
  refuseTemplates(command, '--format', 'dray ps -o json');
  command
    .addHelpText(
      'after',
      `
Of several values of one key any may hold, of labels all must. A name is a
regular expression; status and exited look at all containers.

Examples:
  dray ps
  dray ps -a -o wide
  dray ps -f label=app=web -f health=unhealthy
  dray ps -q -f status=exited | xargs dray rm`,
    )
    .action(async (options: PsOptions, command: Command) => {
      const { listContainers } = await import('../container-listing.ts');
      await listContainers(command, options);
    });
}
