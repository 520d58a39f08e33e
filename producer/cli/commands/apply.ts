import type { Command } from 'commander';

/** `dray apply`: applies one layer to a folder. */
export function register(program: Command): void {
  program
    .command('apply')
    .description(
      'Apply one layer (gzip, zstd or plain tar) from standard input to an empty or new folder of this node, and print its diffID. What the layer deletes is kept as overlayfs has it: character devices 0:0.',
    )
    .argument('<folder>', 'where the tree is made: empty, or not there yet')
    .addHelpText('after', '\nExamples:\n  dray content get sha256:… | dray apply ./rootfs')
    .action(async (folder: string, _options: object, command: Command) => {
      const { openContext } = await import('../context.ts');
      const { applyInput } = await import('../node-storage.ts');
      await applyInput(await openContext(command), folder);
    });
}
