import type { Command } from 'commander';

/** `dray version`: the versions of what takes part. */
export function register(program: Command): void {
  program
    .command('version')
    .description(
      'Print the versions of dray, of Node, and of the agent of this machine if one runs.',
    )
    .addHelpText('after', '\nExamples:\n  dray version')
    .action(async (_options: object, command: Command) => {
      const { openContext } = await import('../context.ts');
      const { ownVersion } = await import('../version.ts');
      process.stdout.write(`dray ${ownVersion()}\nnode ${process.versions.node}\n`);
      const agent = await (await openContext(command)).agentIfAny();
      if (agent === undefined) return;
      const { node, version } = await agent.health();
      process.stdout.write(`agent ${version} (node ${node})\n`);
    });
}
