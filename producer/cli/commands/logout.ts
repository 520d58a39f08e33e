import type { Command } from 'commander';

/** `dray logout`: removes a login. */
export function register(program: Command): void {
  program
    .command('logout')
    .description('Remove the login for a registry from where dray login keeps it.')
    .argument('<registry>', 'host[:port], as in ghcr.io')
    .option('--credential <name>', 'the one that is kept under a name')
    .addHelpText('after', '\nExamples:\n  dray logout registry.example:5000')
    .action(async (written: string, options: { credential?: string }, command: Command) => {
      const { openContext } = await import('../context.ts');
      const { changeLogin, parseRegistry } = await import('../login.ts');
      const { parseCredentialName } = await import('../../../shared/registry/credential-name.ts');
      await openContext(command);
      const registry = parseRegistry(written);
      const credential =
        options.credential === undefined ? undefined : parseCredentialName(options.credential);
      const outcome = await changeLogin({
        ...{ action: 'logout', registry },
        ...(credential === undefined ? {} : { credential }),
      });
      if (outcome.action !== 'logout') return;
      const { where, removed, remaining } = outcome;
      process.stderr.write(
        removed
          ? `removed the login for ${registry} from ${where}\n`
          : `there is no login for ${registry} in ${where}\n`,
      );
      if (remaining !== undefined) {
        process.stderr.write(`there is still one in ${remaining}\n`);
      }
    });
}
