import type { Command } from 'commander';
import { refuseTemplates } from '../no-templates.ts';

/** `dray inspect`: all that is known of containers, as JSON. */
export function register(program: Command): void {
  const inspect = program
    .command('inspect')
    .description('Print all that is known of containers, as a JSON list.')
    .argument('<id...>', 'the containers');
  refuseTemplates(inspect, '-f, --format', 'dray inspect ID');
  inspect
    .addHelpText(
      'after',
      "\nExamples:\n  dray inspect web\n  dray inspect web | jq -r '.[].state, .[].network.addresses[]'",
    )
    .action(async (ids: string[], _options: object, command: Command) => {
      const { inspectContainers } = await import('../inspect.ts');
      await inspectContainers(command, ids);
    });
}
