import type { Command } from 'commander';

interface Options {
  archive?: boolean;
  followLink?: boolean;
}

/** `dray cp`: copies files from a container or into it. */
export function register(program: Command): void {
  program
    .command('cp')
    .description('Copy files and folders from a container or into it, whether it runs or not.')
    .usage('[options] ID:SOURCE TARGET|-\n       dray cp [options] SOURCE|- ID:TARGET')
    .argument('<source>', 'ID:PATH, a path here, or - for a tar archive on standard input')
    .argument('<target>', 'ID:PATH, a path here, or - for a tar archive on standard output')
    .option('-a, --archive', "keep the owners of files; without it they are yours, or root's there")
    .option('-L, --follow-link', 'copy what a symlink leads to')
    .addHelpText(
      'after',
      `
As with cp -r: into a folder that is there, or under the name that is given.
SOURCE/. is what is in a folder. Devices are not copied into a container.

Examples:
  dray cp web:/etc/nginx/nginx.conf .
  dray cp site/. web:/usr/share/nginx/html
  dray cp web:/var/log - | tar -t`,
    )
    .action(async (source: string, target: string, options: Options, command: Command) => {
      const { openContext } = await import('../context.ts');
      const { copyFiles } = await import('../copy.ts');
      const client = await (await openContext(command)).agent();
      await copyFiles(client, source, target, options);
    });
}
