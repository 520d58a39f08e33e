import type { Command } from 'commander';

/** `dray start`: runs containers that were made, or have ended. */
export function register(program: Command): void {
  program
    .command('start')
    .description('Run the command of containers that have ended, or never ran.')
    .argument('<id...>', 'the containers')
    .addHelpText('after', '\nExamples:\n  dray start web\n  dray start $(dray ps -a -q)')
    .action(async (ids: string[], _options: object, command: Command) => {
      const { eachContainer } = await import('../each-container.ts');
      await eachContainer(command, ids, async (client, id) => {
        await client.containers.start(id);
        process.stdout.write(`${id}\n`);
      });
    });
}
