import type { Command } from 'commander';

interface Options {
  username?: string;
  passwordStdin?: boolean;
  credential?: string;
}

/** `dray login`: checks a login and keeps it for the workers of this machine. */
export function register(program: Command): void {
  program
    .command('login')
    .description(
      "Check a login against its registry, and keep it where this user's workers on this machine find it: the file that REGISTRY_AUTH_FILE names, else config.json in DOCKER_CONFIG (default ~/.docker), or the credential helper that this file names.",
    )
    .argument('<registry>', 'host[:port], as in ghcr.io')
    .option('-u, --username <name>', 'the user (default: asked for)')
    .option('--password-stdin', 'read the password from standard input')
    .option('--credential <name>', 'keep it under a name, for: dray pull --credential NAME')
    .addHelpText(
      'after',
      `
The password goes nowhere but to the registry and into that file.

Examples:
  dray login ghcr.io
  dray login --username robot --password-stdin registry.example.com < password
  dray login --credential team-a --username robot --password-stdin ghcr.io < password`,
    )
    .action(async (written: string, options: Options, command: Command) => {
      const { openContext } = await import('../context.ts');
      const { askForLogin, changeLogin, parseRegistry, passwordFromInput } = await import(
        '../login.ts'
      );
      const { parseCredentialName } = await import('../../../shared/registry/credential-name.ts');
      const { DrayError } = await import('../../../shared/errors.ts');
      const { config } = await openContext(command);
      const { username, passwordStdin = false } = options;
      const registry = parseRegistry(written);
      const credential =
        options.credential === undefined ? undefined : parseCredentialName(options.credential);
      if (passwordStdin && username === undefined) {
        throw new DrayError('USAGE', '--password-stdin needs --username');
      }
      const login =
        passwordStdin && username !== undefined
          ? { username, password: await passwordFromInput() }
          : await askForLogin(registry, username);
      const outcome = await changeLogin({
        ...{ action: 'login', registry, ...login },
        ...(credential === undefined ? {} : { credential }),
      });
      if (outcome.action !== 'login') return;
      const { where, checked } = outcome;
      process.stderr.write(
        checked
          ? `${registry} accepts the login; it is kept in ${where}\n`
          : `${registry} asks for no login, so it was not checked; it is kept in ${where}\n`,
      );
      if (!config.embedded) {
        process.stderr.write('workers on other machines and of other users have their own files\n');
      }
    });
}
