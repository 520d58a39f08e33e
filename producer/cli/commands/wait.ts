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
      const [{ eachContainer }, { outlastAgent }] = await Promise.all([
        import('../each-container.ts'),
        import('../outlast-agent.ts'),
      ]);
      const say = (message: string) => process.stderr.write(`${message}\n`);
      await eachContainer(command, ids, async (_, id, connect) => {
        const { exitCode } = await outlastAgent(
          { connect, say },
          `container ${id} runs on`,
          ({ containers }) => containers.wait(id),
        );
        process.stdout.write(`${exitCode}\n`);
      });
    });
}
