import type { Command } from 'commander';
import type { ExecOptions } from '../exec.ts';
import { collect } from '../options.ts';

/** `dray exec`: runs a command in a container that runs. */
export function register(program: Command): void {
  // The command has options of its own.
  program.enablePositionalOptions();
  program
    .command('exec')
    .description('Run a command in a container that runs.')
    .argument('<id>', 'the container')
    .argument('<command...>', 'program and arguments')
    .passThroughOptions()
    .option('-i, --interactive', 'pass standard input on')
    .option('-t, --tty', 'give it this terminal')
    .option('-d, --detach', 'leave it running, with no streams')
    .option('-e, --env <KEY=VALUE>', 'set a variable; KEY alone takes the value from here', collect)
    .option('--env-file <file>', 'variables, a line each; --env comes after them', collect)
    .option('-w, --workdir <folder>', "where the command starts (default: the container's)")
    .option('-u, --user <user[:group]>', "names or numbers (default: the container's)")
    .addHelpText(
      'after',
      `
Ctrl-P Ctrl-Q leaves a terminal and lets the command go on; when the terminal is
closed, it is hung up. Without --tty signals go to the command; the second
Ctrl-C ends dray exec, not the command.

Exit codes:
  125 dray failed, 126 the command can't be invoked, 127 it is not there,
  128 + n signal n ended it, otherwise the command's own.

Examples:
  dray exec -it web sh
  dray exec web redis-cli ping
  dray exec -i web tar -x -C /data < data.tar`,
    )
    .action(async (id: string, args: string[], options: ExecOptions, command: Command) => {
      const { execCommand } = await import('../exec.ts');
      process.exitCode = await execCommand(command, id, args, options);
    });
}
