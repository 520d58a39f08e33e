import type { Command } from 'commander';

/** `dray rm`: removes containers and what they wrote. */
export function register(program: Command): void {
  program
    .command('rm')
    .description('Remove containers and what they wrote.')
    .argument('<id...>', 'the containers')
    .option('-f, --force', 'end those that run')
    .addHelpText('after', '\nExamples:\n  dray rm web\n  dray rm -f $(dray ps -a -q)')
    .action(async (ids: string[], { force = false }: { force?: boolean }, command: Command) => {
      const { eachContainer } = await import('../each-container.ts');
      await eachContainer(command, ids, async (client, id) => {
        await client.containers.remove(id, { force });
        process.stdout.write(`${id}\n`);
      });
    });
}
