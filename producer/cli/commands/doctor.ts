import type { Command } from 'commander';
import { outputOption } from '../options.ts';
import type { OutputForm } from '../output.ts';

/** `dray doctor`: checks what drayage stands on. */
export function register(program: Command): void {
  outputOption(
    program
      .command('doctor')
      .description(
        'Check what drayage stands on, and say what to do where something is missing: Redis and its settings, the content store, clocks, and on a node its kernel, runc, conmon, CNI plugins and disk. Nothing is started or changed; a blob of 64 bytes is put into the store, and removed.',
      )
      .option('--node', 'check this machine as a node, also when it has no agent yet')
      .option('--no-node', 'check only what is shared: Redis and the store'),
  )
    .addHelpText(
      'after',
      `
Exit codes: 0 nothing failed (there may be warnings), 1 something did.

Examples:
  dray doctor
  sudo dray doctor --node      # before an agent is started here
  dray doctor -o json`,
    )
    .action(async (options: { output: OutputForm; node?: boolean }, command: Command) => {
      const { openContext } = await import('../context.ts');
      const { examine } = await import('../doctor/doctor.ts');
      process.exitCode = (await examine(await openContext(command), options)) ? 0 : 1;
    });
}
