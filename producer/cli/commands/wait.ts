import type { Command } from 'commander';

/** `dray wait`: waits for the end of containers. */
export function register(program: Command): void {
  program
    .command('wait')
    .description('Wait until containers have ended, and print their exit codes.')
    .argument('<id...>', 'the containers')
    .addHelpText(
      'after',
      '\nExamples:\n  dray wait job\n  dray run -d --id job IMAGE make && dray wait job',
    )
    .action(async (ids: string[], _options: object, command: Command) => {
      const { eachContainer } = await import('../each-container.ts');
      await eachContainer(command, ids, async (client, id) => {
        const { exitCode } = await client.containers.wait(id);
        process.stdout.write(`${exitCode}\n`);
      });
    });
}
