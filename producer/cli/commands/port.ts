import type { Command } from 'commander';

/** `dray port`: the ports of the node that lead to a container. */
export function register(program: Command): void {
  program
    .command('port')
    .description('Print which ports of the node lead to a container.')
    .argument('<id>', 'the container')
    .argument('[port[/protocol]]', 'of the container: only what leads there')
    .addHelpText(
      'after',
      '\nExamples:\n  dray port web\n  dray port web 80\n  dray port dns 53/udp',
    )
    .action(async (id: string, port: string | undefined, _options: object, command: Command) => {
      const { printPorts } = await import('../ports.ts');
      await printPorts(command, id, port);
    });
}
