import type { Command } from 'commander';
import { collect } from '../container-options.ts';
import { pullPolicyOption } from '../options.ts';

interface Options {
  id?: string;
  pull: string;
  rm?: boolean;
  detach?: boolean;
  env?: string[];
  workdir?: string;
  user?: string;
  mount?: string[];
  net: string;
  hostname?: string;
}

/** `dray run`: makes a container of an image and runs it. */
export function register(program: Command): void {
  // The container's command has options of its own.
  program.enablePositionalOptions();
  program
    .command('run')
    .description('Run a command in a new container. The image is pulled when it is not there.')
    .argument('<reference>', 'the image')
    .argument('[command...]', "instead of the image's own; its entrypoint stays in front")
    .passThroughOptions()
    .option('--id <id>', "the container's id (default: twelve random digits)")
    .addOption(pullPolicyOption('missing'))
    .option('--rm', 'remove the container once it has ended')
    .option('-d, --detach', 'print the id and leave it running')
    .option('-e, --env <KEY=VALUE>', 'set a variable; KEY alone takes the value from here', collect)
    .option('-w, --workdir <folder>', 'where the command starts')
    .option('-u, --user <user[:group]>', "names or numbers, looked up in the image's own files")
    .option(
      '--mount <mount>',
      'type=bind,source=…,target=…[,readonly] or type=tmpfs,target=…',
      collect,
    )
    .option('--net <network>', "host: the node's network; none: only loopback", 'host')
    .option('--hostname <name>', "the container's host name")
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
  dray run -d --id web --mount type=tmpfs,target=/data docker.io/library/redis`,
    )
    .action(async (reference: string, args: string[], options: Options, command: Command) => {
      const { runImage } = await import('../run-image.ts');
      process.exitCode = await runImage(command, { reference, args, ...options });
    });
}
