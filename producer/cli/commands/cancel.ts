import type { Command } from 'commander';

/** `dray cancel`: ends pulls that nobody wants any more. */
export function register(program: Command): void {
  program
    .command('cancel')
    .description(
      'End pulls that nobody wants any more. Transfers and unpacking that only they wait for stop within 2 s; what is in the content store, or unpacked, stays.',
    )
    .argument('<id...>', 'the ids of the pulls')
    .addHelpText('after', '\nExamples:\n  dray cancel $(dray pulls -q -n 1)')
    .action(async (ids: string[], _options: object, command: Command) => {
      const { openContext } = await import('../context.ts');
      const { steerPulls } = await import('../pull-listing.ts');
      await steerPulls(await openContext(command), ids, 'cancel');
    });
}
