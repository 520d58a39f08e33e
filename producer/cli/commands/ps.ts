import { type Command, Option } from 'commander';

interface Options {
  all?: boolean;
  quiet?: boolean;
  output: 'table' | 'json';
}

/** `dray ps`: the node's containers. */
export function register(program: Command): void {
  program
    .command('ps')
    .description('List containers that run.')
    .option('-a, --all', 'those that do not run, too')
    .option('-q, --quiet', 'only the ids')
    .addOption(
      new Option('-o, --output <form>', 'table or json')
        .choices(['table', 'json'])
        .default('table'),
    )
    .action(async (options: Options, command: Command) => {
      const { openContext } = await import('../context.ts');
      const { containerTable } = await import('../container-table.ts');
      const { outputWidth } = await import('../output.ts');
      const client = await (await openContext(command)).agent();
      const containers = (await client.listContainers()).filter(
        ({ state }) => options.all === true || state === 'running',
      );
      const text =
        options.quiet === true
          ? containers.map(({ id }) => `${id}\n`).join('')
          : options.output === 'json'
            ? `${JSON.stringify(containers, undefined, 2)}\n`
            : containerTable(containers, new Date(), outputWidth());
      process.stdout.write(text);
    });
}
