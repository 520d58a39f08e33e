import type { Command } from 'commander';
import { collect } from '../options.ts';

/** `dray agent`: is a node's agent. */
export function register(program: Command): void {
  program
    .command('agent')
    .description(
      'Be the agent of this node: unpack images and run containers, until SIGTERM. Needs root; containers outlive it.',
    )
    .option('--node <name>', "the node's name in the fleet (default: DRAY_NODE or the host's name)")
    .option(
      '--label <key=value>',
      'what selectors choose it by; may be repeated (default: DRAY_LABELS or agent.labels)',
      collect,
    )
    .addHelpText(
      'after',
      '\nExamples:\n  REDIS_URL=redis://queue:6379 DRAY_STORE=s3://bucket/prefix dray agent --node node-a --label zone=a',
    )
    .action(async ({ node, label }: { node?: string; label?: string[] }, command: Command) => {
      const { openContext } = await import('../context.ts');
      const { becomeProgram } = await import('../program.ts');
      if (label !== undefined) {
        const { parseLabels } = await import('../../../shared/node/labels.ts');
        parseLabels(label.join(','));
      }
      const env = {
        ...(node === undefined ? {} : { DRAY_NODE: node }),
        ...(label === undefined ? {} : { DRAY_LABELS: label.join(',') }),
      };
      becomeProgram(await openContext(command), 'agent', env);
    });
}
