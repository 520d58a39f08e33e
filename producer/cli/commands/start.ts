import type { Command } from 'commander';

interface Options {
  attach?: boolean;
  interactive?: boolean;
}

/** `dray start`: runs containers that were made, or have ended. */
export function register(program: Command): void {
  program
    .command('start')
    .description('Run the command of containers that have ended, or never ran.')
    .argument('<id...>', 'the containers')
    .option('-a, --attach', 'show the output of one, pass signals on, and end with its exit code')
    .option('-i, --interactive', 'pass input on as well, where it was made with -i')
    .addHelpText(
      'after',
      '\nExamples:\n  dray start web\n  dray start $(dray ps -a -q)\n  dray start -ai shell',
    )
    .action(async (ids: string[], options: Options, command: Command) => {
      if (options.attach === true || options.interactive === true) {
        const { startAttached } = await import('../start.ts');
        process.exitCode = await startAttached(command, ids, options);
        return;
      }
      const [{ eachContainer }, { DrayError }] = await Promise.all([
        import('../each-container.ts'),
        import('../../../shared/errors.ts'),
      ]);
      await eachContainer(command, ids, async ({ containers }, id) => {
        await containers.start(id).catch(async (error: unknown) => {
          const mayRun = error instanceof DrayError && error.code === 'CONFLICT';
          // What runs already is as it was asked for.
          if (!mayRun || (await containers.inspect(id)).state !== 'running') throw error;
        });
        process.stdout.write(`${id}\n`);
      });
    });
}
