import type { Command } from 'commander';
import { listOptions } from '../options.ts';
import type { ListOptions } from '../output.ts';

/** `dray volume`: the node's volumes with a name. */
export function register(program: Command): void {
  const volume = program
    .command('volume')
    .description(
      "List, make, inspect and remove a node's volumes. Without a verb it lists, with the options of ls. dray run -v NAME:/PATH makes one, too; it outlives its containers.",
    )
    .addHelpText(
      'after',
      `
Examples:
  dray volume create data
  dray volume ls
  dray volume inspect data
  dray volume rm data
  dray volume prune`,
    );
  listOptions(
    volume
      .command('ls', { isDefault: true })
      .alias('list')
      .summary('list volumes')
      .description('List the volumes, and which containers have them.'),
    'only the names',
  ).action(async (options: ListOptions, command: Command) => {
    const { openContext } = await import('../context.ts');
    const { listVolumes } = await import('../volumes.ts');
    await listVolumes(await (await openContext(command)).agent(), options);
  });

  volume
    .command('create')
    .summary('make a volume')
    .description('Make an empty volume, and print its name. One that is there is left as it is.')
    .argument('[name]', 'its name (default: twelve random digits)')
    .action(async (name: string | undefined, _options: object, command: Command) => {
      const { openContext } = await import('../context.ts');
      const { randomHex } = await import('../../../shared/random-hex.ts');
      const client = await (await openContext(command)).agent();
      process.stdout.write(`${(await client.createVolume(name ?? randomHex(6))).name}\n`);
    });

  volume
    .command('inspect')
    .summary('print all that is known of volumes')
    .description('Print all that is known of volumes, as a JSON list.')
    .argument('<name...>', 'the volumes')
    .action(async (names: string[], _options: object, command: Command) => {
      const { openContext } = await import('../context.ts');
      const { inspectVolumes } = await import('../volumes.ts');
      await inspectVolumes(await (await openContext(command)).agent(), names);
    });

  volume
    .command('rm')
    .alias('remove')
    .summary('remove volumes')
    .description('Remove volumes and all that is in them. Those that a container has stay.')
    .argument('<name...>', 'the volumes')
    .action(async (names: string[], _options: object, command: Command) => {
      const { eachContainer } = await import('../each-container.ts');
      await eachContainer(command, names, async (client, name) => {
        await client.removeVolume(name);
        process.stdout.write(`${name}\n`);
      });
    });

  volume
    .command('prune')
    .summary('remove the volumes that no container has')
    .description('Remove the volumes that no container has, whether it runs or not.')
    .option('-f, --force', 'without it nothing is removed, and only said what would be')
    .action(async ({ force = false }: { force?: boolean }, command: Command) => {
      const { openContext } = await import('../context.ts');
      const { pruneVolumes } = await import('../volumes.ts');
      await pruneVolumes(await (await openContext(command)).agent(), { force });
    });
}
