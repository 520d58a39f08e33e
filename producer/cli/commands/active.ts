import type { Command } from 'commander';
import { listOptions } from '../options.ts';
import type { ListOptions } from '../output.ts';

/** `dray active`: transfers in flight. */
export function register(program: Command): void {
  listOptions(
    program
      .command('active')
      .description(
        'List transfers into the content store that are in flight, and what broken ones left, which the next try goes on from.',
      ),
    'only the digests',
  )
    .addHelpText('after', '\nExamples:\n  dray active\n  dray active -o json')
    .action(async (options: ListOptions, command: Command) => {
      const { listIngests } = await import('../content-blobs.ts');
      const { openContext } = await import('../context.ts');
      await listIngests(await openContext(command), options);
    });
}
