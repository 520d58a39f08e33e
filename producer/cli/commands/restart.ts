import type { Command } from 'commander';

/** `dray restart`: stops containers and starts them again. */
export function register(program: Command): void {
  program
    .command('restart')
    .description(
      'Stop containers as dray stop does, and start them again. Those that have ended are started.',
    )
    .argument('<id...>', 'the containers')
    .option('-t, --time <seconds>', "how long to wait (default: the container's own, or 10)")
    .addHelpText('after', '\nExamples:\n  dray restart web\n  dray restart -t 60 db')
    .action(async (ids: string[], options: { time?: string }, command: Command) => {
      const [{ eachContainer }, { parseWhole }, { stopContainer }, { DrayError }] =
        await Promise.all([
          import('../each-container.ts'),
          import('../run/quantities.ts'),
          import('../stop.ts'),
          import('../../../shared/errors.ts'),
        ]);
      const { time } = options;
      const seconds = time === undefined ? undefined : parseWhole('--time', time, { most: 86_400 });
      await eachContainer(command, ids, async (client, id, connect) => {
        if ((await client.containers.inspect(id)).autoRemove) {
          throw new DrayError('CONFLICT', `Container ${id} is removed once it has ended`, {
            hint: 'Run it without --rm.',
          });
        }
        const timeout = seconds === undefined ? {} : { timeout: seconds * 1000 };
        await stopContainer(id, { connect, ...timeout });
        await (await connect()).containers.start(id);
        process.stdout.write(`${id}\n`);
      });
    });
}
