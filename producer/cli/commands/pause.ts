import type { Command } from 'commander';

/** `dray pause`: freezes all processes of containers. */
export function register(program: Command): void {
  program
    .command('pause')
    .description('Freeze all processes of containers, until dray unpause.')
    .argument('<id...>', 'the containers')
    .addHelpText('after', '\nExamples:\n  dray pause web')
    .action(async (ids: string[], _options: object, command: Command) => {
      const { eachContainer } = await import('../each-container.ts');
      await eachContainer(command, ids, async (client, id) => {
        await client.containers.pause(id);
        process.stdout.write(`${id}\n`);
      });
    });
}
