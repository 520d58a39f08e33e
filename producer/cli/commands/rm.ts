import type { Command } from 'commander';

/** `dray rm`: removes containers and what they wrote. */
export function register(program: Command): void {
  program
    .command('rm')
    .description('Remove containers and what they wrote.')
    .argument('<id...>', 'the containers')
    .option('-f, --force', 'end those that run; one that is not there is success')
    .option('-v, --volumes', 'accepted as docker has it: volumes without a name go anyway')
    .addHelpText('after', '\nExamples:\n  dray rm web\n  dray rm -f $(dray ps -a -q)')
    .action(async (ids: string[], { force = false }: { force?: boolean }, command: Command) => {
      const [{ eachContainer }, { DrayError }] = await Promise.all([
        import('../each-container.ts'),
        import('../../../shared/errors.ts'),
      ]);
      await eachContainer(command, ids, async (client, id) => {
        try {
          await client.containers.remove(id, { force });
        } catch (error) {
          const isGone = error instanceof DrayError && error.code === 'NOT_FOUND';
          if (!force || !isGone) throw error;
          process.stderr.write(`${error.message}\n`);
          return;
        }
        process.stdout.write(`${id}\n`);
      });
    });
}
