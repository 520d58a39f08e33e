import type { Command } from 'commander';

/** `dray up`: starts the embedded fleet. */
export function register(program: Command): void {
  program
    .command('up')
    .description(
      'Start the embedded fleet of this machine: a private Redis, a worker and an agent, in the background. Other commands do so by themselves when they need it.',
    )
    .addHelpText('after', '\nExamples:\n  dray up && dray status')
    .action(async (_options: object, command: Command) => {
      const { openContext } = await import('../context.ts');
      const { config } = await openContext(command);
      const { requireEmbedded } = await import('../embedded-only.ts');
      requireEmbedded(config);
      const { ensureFleet } = await import('../../embedded/fleet.ts');
      let line = `the embedded fleet is up already, in ${config.stateDirectory}`;
      await ensureFleet(config, {
        say: (said) => {
          line = said;
        },
      });
      process.stderr.write(`${line}\n`);
    });
}
