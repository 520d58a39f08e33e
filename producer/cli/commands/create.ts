import type { Command } from 'commander';
import { addRunFlags, containerCommand, type RunFlags } from '../run/flags.ts';

interface Options extends RunFlags {
  name?: string;
  cidfile?: string;
  quiet?: boolean;
  pull: string;
  platform?: string;
  rm?: boolean;
}

/** `dray create`: makes a container of an image, which does not run yet. */
export function register(program: Command): void {
  // The container's command has options of its own.
  program.enablePositionalOptions();
  const command = containerCommand(
    program
      .command('create')
      .description('Make a container as dray run does, print its id, and leave it to dray start.'),
  );
  addRunFlags(command)
    .addHelpText(
      'after',
      `
Examples:
  dray create --name job docker.io/library/redis:latest redis-server --version
  dray start -a job
  dray cp job:/etc/redis/redis.conf .`,
    )
    .action(async (reference: string, args: string[], options: Options, command: Command) => {
      const { createFromImage } = await import('../run/run-image.ts');
      await createFromImage(command, { reference, args, ...options });
    });
}
