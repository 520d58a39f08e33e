import type { Command } from 'commander';

/** `dray kill`: sends a signal to containers. */
export function register(program: Command): void {
  program
    .command('kill')
    .description('Send a signal to the first process of containers.')
    .argument('<id...>', 'the containers')
    .option('-s, --signal <signal>', 'a name or number', 'SIGKILL')
    .addHelpText('after', '\nExamples:\n  dray kill web\n  dray kill -s HUP web')
    .action(async (ids: string[], options: { signal: string }, command: Command) => {
      const { eachContainer } = await import('../each-container.ts');
      await eachContainer(command, ids, async (client, id) => {
        await client.containers.kill(id, options.signal);
        process.stdout.write(`${id}\n`);
      });
    });
}
