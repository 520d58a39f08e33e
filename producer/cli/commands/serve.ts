import type { Command } from 'commander';

/** `dray serve`: the HTTP API. */
export function register(program: Command): void {
  program
    .command('serve')
    .description(
      'Serve the HTTP API and the dashboard, until SIGTERM. It listens on loopback unless told otherwise, and elsewhere only with tokens.',
    )
    .option(
      '--listen <host:port>',
      'where it listens (default: DRAY_API_LISTEN or 127.0.0.1:7070; port 0: any)',
    )
    .addHelpText(
      'after',
      `
Examples:
  dray serve
  dray token create ci --scope pull && dray serve --listen 0.0.0.0:7070
  curl http://127.0.0.1:7070/v1/pulls -H 'content-type: application/json' \\
    -d '{"reference":"docker.io/library/redis:latest","nodes":["node-a"]}'
  curl http://127.0.0.1:7070/openapi.json`,
    )
    .action(async ({ listen }: { listen?: string }, command: Command) => {
      const { openContext } = await import('../context.ts');
      const { becomeProgram } = await import('../program.ts');
      const context = await openContext(command);
      await context.fleet();
      becomeProgram(context, 'serve', listen === undefined ? {} : { DRAY_API_LISTEN: listen });
    });
}
