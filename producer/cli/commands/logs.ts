import type { Command } from 'commander';

interface Options {
  follow?: boolean;
  since?: string;
  tail?: string;
  timestamps?: boolean;
}

/** `dray logs`: what a container wrote. */
export function register(program: Command): void {
  program
    .command('logs')
    .description('Print what a container wrote: its output here, its errors on standard error.')
    .argument('<id>', 'the container')
    .option('-f, --follow', 'go on until it has ended, also when its agent is replaced meanwhile')
    .option('--since <time>', 'a time as 2026-01-31T12:00:00Z, or how long ago: 90s, 10m, 2h')
    .option('-n, --tail <lines>', 'so many lines before the end; all')
    .option('-t, --timestamps', 'the time in front of each line, in UTC')
    .addHelpText(
      'after',
      `
Examples:
  dray logs -f --tail 20 web
  dray logs --since 10m --timestamps web 2>&1`,
    )
    .action(async (id: string, options: Options, command: Command) => {
      const { printLogs } = await import('../logs.ts');
      process.exitCode = await printLogs(command, id, options);
    });
}
