import { type Command, Option } from 'commander';

interface Options {
  since?: string;
  after?: string;
  follow: boolean;
  output: 'table' | 'json';
}

/** `dray events`: shows what happens to containers. */
export function register(program: Command): void {
  program
    .command('events')
    .description('Show what happens to the containers of a node, from now on.')
    .option(
      '--since <time>',
      'begin then: a time as 2026-01-31T12:00:00Z, or how long ago: 10m, 2h',
    )
    .option('--after <event>', 'begin behind the event with this id')
    .option('--no-follow', 'end with what has happened so far')
    .addOption(
      new Option('-o, --output <form>', 'lines for people, or a line of JSON for each')
        .choices(['table', 'json'])
        .default('table'),
    )
    .addHelpText(
      'after',
      `
The node keeps its last 10000 events: create, start, pause, unpause, oom, die,
health and remove; a start by a restart policy says how many there were. Each
has an id, with which a program goes on where it stopped.

Examples:
  dray events --since 1h --no-follow
  dray events -o json --after 4711`,
    )
    .action(async (options: Options, command: Command) => {
      const { openContext } = await import('../context.ts');
      const { showEvents } = await import('../events.ts');
      await showEvents(await openContext(command), options);
    });
}
