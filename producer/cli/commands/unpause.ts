import type { Command } from 'commander';

/** `dray unpause`: lets paused containers go on. */
export function register(program: Command): void {
  program
    .command('unpause')
    .description('Let containers that were paused go on.')
    .argument('<id...>', 'the containers')
    .addHelpText('after', '\nExamples:\n  dray unpause web')
    .action(async (ids: string[], _options: object, command: Command) => {
      const { eachContainer } = await import('../each-container.ts');
      await eachContainer(command, ids, async (client, id) => {
        await client.containers.unpause(id);
        process.stdout.write(`${id}\n`);
      });
    });
}
