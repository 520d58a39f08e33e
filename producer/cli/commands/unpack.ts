import type { Command } from 'commander';

/** `dray unpack`: unpacks an image that is in the content store. */
export function register(program: Command): void {
  program
    .command('unpack')
    .description(
      'Unpack an image whose manifest and layers are in the content store, on this node, and print its chainID.',
    )
    .argument('<digest>', 'of its index or manifest')
    .addHelpText('after', '\nExamples:\n  dray fetch alpine\n  dray unpack sha256:…')
    .action(async (text: string, _options: object, command: Command) => {
      const { openContext } = await import('../context.ts');
      const { parseDigest } = await import('../../../shared/image/digest.ts');
      const { unpackStored } = await import('../unpack-stored.ts');
      const chainID = await unpackStored(await openContext(command), parseDigest(text));
      // An image without layers has none.
      if (chainID !== undefined) process.stdout.write(`${chainID}\n`);
    });
}
