import type { Command } from 'commander';

/** `dray stop`: asks containers to end, and kills those that have not in their time. */
export function register(program: Command): void {
  program
    .command('stop')
    .description(
      'Ask containers to end by their stop signal, and kill those that have not in their time. Their restart policies rest until they are started.',
    )
    .argument('<id...>', 'the containers')
    .option('-t, --time <seconds>', "how long to wait (default: the container's own, or 10)")
    .addHelpText(
      'after',
      '\nExamples:\n  dray stop web\n  dray stop -t 60 db\n  dray stop $(dray ps -q)',
    )
    .action(async (ids: string[], options: { time?: string }, command: Command) => {
      const [{ eachContainer }, { parseWhole }, { stopContainer }] = await Promise.all([
        import('../each-container.ts'),
        import('../run/quantities.ts'),
        import('../stop.ts'),
      ]);
      const { time } = options;
      const seconds = time === undefined ? undefined : parseWhole('--time', time, { most: 86_400 });
      await eachContainer(command, ids, async (_, id, connect) => {
        const timeout = seconds === undefined ? {} : { timeout: seconds * 1000 };
        await stopContainer(id, { connect, ...timeout });
        process.stdout.write(`${id}\n`);
      });
    });
}
