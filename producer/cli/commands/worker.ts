import type { Command } from 'commander';

/** `dray worker`: is a worker of a fleet. */
export function register(program: Command): void {
  program
    .command('worker')
    .description(
      'Be a worker of the fleet: resolve references and fetch blobs, until SIGTERM. Any number may run, anywhere.',
    )
    .addHelpText(
      'after',
      '\nExamples:\n  REDIS_URL=redis://queue:6379 DRAY_STORE=s3://bucket/prefix dray worker',
    )
    .action(async (_options: object, command: Command) => {
      const { openContext } = await import('../context.ts');
      const { becomeProgram } = await import('../program.ts');
      becomeProgram(await openContext(command), 'worker', {});
    });
}
