import type { Command } from 'commander';
import { addRunFlags, containerCommand, type RunFlags } from '../run/flags.ts';

interface Options extends RunFlags {
  name?: string;
  cidfile?: string;
  quiet?: boolean;
  pull: string;
  platform?: string;
  rm?: boolean;
  detach?: boolean;
}

/** `dray run`: makes a container of an image and runs it. */
export function register(program: Command): void {
  // The container's command has options of its own.
  program.enablePositionalOptions();
  const command = containerCommand(
    program
      .command('run')
      .description('Run a command in a new container. The image is pulled when it is not there.'),
  ).option('-d, --detach', 'print the id and leave it running');
  addRunFlags(command)
    .addHelpText(
      'after',
      `
Options of dray end at the reference; all behind it belongs to the command.
Signals go to the command; the second Ctrl-C kills it.

Exit codes:
  125 dray failed, 126 the command can't be invoked, 127 it is not there,
  128 + n signal n ended it, 141 nobody reads the output (it runs on),
  otherwise the command's own.

Examples:
  dray run --rm docker.io/library/redis:latest redis-server --version
  dray run -d --name cache -p 6379:6379 --restart always -m 256m docker.io/library/redis`,
    )
    .action(async (reference: string, args: string[], options: Options, command: Command) => {
      const { runImage } = await import('../run/run-image.ts');
      process.exitCode = await runImage(command, { reference, args, ...options });
    });
}
