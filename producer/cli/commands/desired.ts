import type { Command } from 'commander';
import { listOptions } from '../options.ts';
import type { ListOptions } from '../output.ts';

/** `dray desired`: what nodes shall hold from now on. */
export function register(program: Command): void {
  const desired = program
    .command('desired')
    .description(
      'List and remove desired sets: images that nodes shall hold, also those that join later and match, and those that have lost them. Without a verb it lists, with the options of ls.',
    )
    .addHelpText(
      'after',
      `
Examples:
  dray pull --keep --selector zone=a --schedule 6h ghcr.io/org/app:1
  dray desired -o wide
  dray desired rm app-1`,
    );
  listOptions(
    desired
      .command('ls', { isDefault: true })
      .summary('list desired sets')
      .description(
        'List desired sets. READY is how many of the nodes that match, and are neither lost nor cordoned, hold the current version.',
      ),
    'only the names',
  ).action(async (options: ListOptions, command: Command) => {
    const { openContext } = await import('../context.ts');
    const { printDesired } = await import('../desired-listing.ts');
    await printDesired(await openContext(command), options);
  });

  desired
    .command('rm')
    .summary('remove desired sets')
    .description(
      'Remove desired sets. What nodes hold stays, until it is collected as garbage; pulls that are under way go on.',
    )
    .argument('<name...>', 'the sets')
    .action(async (names: string[], _options: object, command: Command) => {
      const { openContext } = await import('../context.ts');
      const { removeDesired } = await import('../desired-listing.ts');
      await removeDesired(await openContext(command), names);
    });
}
