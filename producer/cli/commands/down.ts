import type { Command } from 'commander';

/** `dray down`: stops the embedded fleet. */
export function register(program: Command): void {
  program
    .command('down')
    .description(
      'Stop the embedded fleet of this machine. Containers run on; what was pulled stays; pulls that are not finished go on with the next dray up.',
    )
    .addHelpText('after', '\nExamples:\n  dray down')
    .action(async (_options: object, command: Command) => {
      const { openContext } = await import('../context.ts');
      const context = await openContext(command);
      const { requireEmbedded } = await import('../embedded-only.ts');
      requireEmbedded(context.config);
      const { stopFleet } = await import('../../embedded/fleet.ts');
      const client = await context.agentIfAny();
      const containers = await client?.containers.list().catch(() => []);
      const stopped = await stopFleet(context.config);
      process.stderr.write(
        stopped.length === 0
          ? 'the embedded fleet is not running\n'
          : `stopped the embedded fleet (${stopped.join(', ')}) in ${context.config.stateDirectory}\n`,
      );
      const running = (containers ?? []).filter(({ state }) => state === 'running');
      if (running.length > 0) {
        const ids = running.map(({ id }) => id).join(', ');
        process.stderr.write(
          `${running.length === 1 ? 'one container runs' : `${running.length} containers run`} on: ${ids}\n`,
        );
      }
    });
}
