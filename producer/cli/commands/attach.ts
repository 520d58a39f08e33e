import type { Command } from 'commander';

interface Options {
  stdin: boolean;
  sigProxy: boolean;
}

/** `dray attach`: shows a running container here, and passes input on to it. */
export function register(program: Command): void {
  program
    .command('attach')
    .description('Show the output of a running container from now on, and pass input on to it.')
    .argument('<id>', 'the container')
    .option('--no-stdin', 'pass no input on')
    .option('--no-sig-proxy', 'pass no signals on')
    .addHelpText(
      'after',
      `
Ctrl-P Ctrl-Q leaves a terminal and lets the container run on. Without a
terminal signals go to the container, as with dray run. Ends with the exit code
of the container.

Examples:
  dray attach web
  dray attach --no-stdin web`,
    )
    .action(async (id: string, options: Options, command: Command) => {
      const { openContext } = await import('../context.ts');
      const { ownTerminalSize } = await import('../terminal.ts');
      const { attachTo, requireRunning } = await import('../attach.ts');
      const context = await openContext(command);
      const connect = () => context.agent();
      const { terminal, stdin } = requireRunning(await (await connect()).containers.inspect(id));
      if (terminal && options.stdin) ownTerminalSize();
      process.exitCode = await attachTo(id, {
        connect,
        say: (message: string) => process.stderr.write(`${message}\n`),
        request: { tail: 0 },
        terminal,
        stdin: stdin && options.stdin,
        signals: options.sigProxy,
      });
    });
}
