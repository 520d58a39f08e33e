import type { Command } from 'commander';

/** `dray unpack`: unpacks an image that is in the content store. */
export function register(program: Command): void {
  program
    .command('unpack')
    .description(
      'Unpack an image whose manifest and layers are in the content store, on this node, and print its chainID.',
    )
    .argument('<image>', 'its name, or the digest of its index or manifest, or its first digits')
    .addHelpText(
      'after',
      '\nExamples:\n  dray fetch alpine\n  dray unpack alpine\n  dray unpack sha256:…',
    )
    .action(async (image: string, _options: object, command: Command) => {
      const { openContext } = await import('../context.ts');
      const { unpackImage } = await import('../node-storage.ts');
      await unpackImage(await openContext(command), image);
    });
}
