import type { Command } from 'commander';
import { listOptions } from '../options.ts';
import type { ListOptions } from '../output.ts';

/** `dray images`: the names of what was pulled. */
export function register(program: Command): void {
  const images = program
    .command('images')
    .description('List, name and remove images. Without a verb it lists, with the options of ls.')
    .addHelpText(
      'after',
      `
Examples:
  dray images
  dray images -q
  dray images -o json
  dray images tag docker.io/library/redis:latest registry.local/redis:blessed
  dray images rm registry.local/redis:blessed`,
    );
  listOptions(
    images
      .command('ls', { isDefault: true })
      .summary('list images')
      .description(
        'List images. SIZE is what the content store holds of one, UNPACKED what its layers take on this node.',
      ),
    'only the references',
  ).action(async (options: ListOptions, command: Command) => {
    const { openContext } = await import('../context.ts');
    const { listImages } = await import('../image-listing.ts');
    await listImages(await openContext(command), options);
  });

  images
    .command('rm')
    .summary('remove names of images')
    .description(
      'Remove names of images. Their content, and their snapshots on nodes, go with the next garbage collection (dray gc) if nothing else needs them.',
    )
    .argument('<reference...>', 'the names, or digests that have one name only')
    .action(async (references: string[], _options: object, command: Command) => {
      const { openContext } = await import('../context.ts');
      const { removeImages } = await import('../image-listing.ts');
      await removeImages(await openContext(command), references);
    });

  images
    .command('tag')
    .summary('give an image one more name')
    .description('Give an image one more name. A name that is there already is moved.')
    .argument(
      '<reference>',
      'the image, or the digest of its index or manifest, or its first digits',
    )
    .argument('<name>', 'the new name')
    .action(async (reference: string, name: string, _options: object, command: Command) => {
      const { openContext } = await import('../context.ts');
      const { tagImage } = await import('../image-listing.ts');
      await tagImage(await openContext(command), reference, name);
    });
}
