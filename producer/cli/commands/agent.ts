import type { Command } from 'commander';

/** `dray agent`: is a node's agent. */
export function register(program: Command): void {
  program
    .command('agent')
    .description(
      'Be the agent of this node: unpack images and run containers, until SIGTERM. Needs root; containers outlive it.',
    )
    .option('--node <name>', "the node's name in the fleet (default: DRAY_NODE or the host's name)")
    .addHelpText(
      'after',
      '\nExamples:\n  REDIS_URL=redis://queue:6379 DRAY_STORE=s3://bucket/prefix dray agent --node node-a',
    )
    .action(async ({ node }: { node?: string }, command: Command) => {
      const { openContext } = await import('../context.ts');
      const { becomeProgram } = await import('../program.ts');
      const env = node === undefined ? {} : { DRAY_NODE: node };
      becomeProgram(await openContext(command), 'agent', env);
    });
}
