import type { Command } from 'commander';

/** `dray logs`: what a container wrote. */
export function register(program: Command): void {
  program
    .command('logs')
    .description('Print what a container wrote: its output here, its errors on standard error.')
    .argument('<id>', 'the container')
    .option('-f, --follow', 'go on until it has ended')
    .action(async (id: string, { follow = false }: { follow?: boolean }, command: Command) => {
      const { openContext } = await import('../context.ts');
      const { writeOut } = await import('../foreground.ts');
      const client = await (await openContext(command)).agent();
      for await (const { stream, bytes } of await client.containerLogs(id, { follow })) {
        if (!(await writeOut(process[stream], bytes))) return;
      }
    });
}
