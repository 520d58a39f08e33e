import type { Command } from 'commander';
import { listOptions } from '../options.ts';
import type { ListOptions } from '../output.ts';

/** `dray snapshots`: the states of file systems that this node holds. */
export function register(program: Command): void {
  const snapshots = program
    .command('snapshots')
    .description(
      "List, prepare and remove this node's snapshots. Without a verb it lists, with the options of ls.",
    )
    .addHelpText(
      'after',
      `
Examples:
  dray snapshots ls
  dray snapshots prepare scratch docker.io/library/redis:latest
  dray snapshots rm scratch`,
    );
  listOptions(
    snapshots
      .command('ls', { isDefault: true })
      .summary('list snapshots')
      .description('List all snapshots.'),
    'only the names',
  ).action(async (options: ListOptions, command: Command) => {
    const { openContext } = await import('../context.ts');
    const { listSnapshots } = await import('../node-storage.ts');
    await listSnapshots(await openContext(command), options);
  });

  snapshots
    .command('prepare')
    .summary('open a writable snapshot of an image')
    .description('Open a writable snapshot of an image, and print how it is mounted.')
    .argument('<key>', 'its name')
    .argument('<image>', 'a reference, or the digest of an index or manifest, or its first digits')
    .option('--target <folder>', 'the folder in the printed command', '/mnt')
    .action(async (key: string, image: string, options: { target: string }, command: Command) => {
      const { openContext } = await import('../context.ts');
      const { prepareSnapshot } = await import('../node-storage.ts');
      await prepareSnapshot(await openContext(command), key, image, options);
    });

  snapshots
    .command('rm')
    .summary('remove snapshots')
    .description('Remove snapshots that nothing stands on.')
    .argument('<name...>', 'keys, or chainIDs or their first digits')
    .action(async (names: string[], _options: object, command: Command) => {
      const { openContext } = await import('../context.ts');
      const { removeSnapshots } = await import('../node-storage.ts');
      await removeSnapshots(await openContext(command), names);
    });
}
