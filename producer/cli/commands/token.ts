import { type Command, InvalidArgumentError, Option } from 'commander';
import { parseDuration } from '../../../shared/duration.ts';
import { listOptions } from '../options.ts';
import type { ListOptions } from '../output.ts';

/** `dray token`: who may use the HTTP API. */
export function register(program: Command): void {
  const token = program
    .command('token')
    .description(
      'Make, list and remove the tokens of the HTTP API. They stand in a file (DRAY_API_TOKENS) by their digests only; a running API reads it again.',
    )
    .addHelpText(
      'after',
      '\nExamples:\n  dray token create ci --scope pull --expires 30d\n  dray token ls\n  dray token rm ci',
    );
  token
    .command('create')
    .description('Make a token and print it. It can not be shown again.')
    .argument('<name>', 'for people: who uses it')
    .addOption(
      new Option('--scope <scope>', 'what it allows; may be repeated')
        .choices(['read', 'pull', 'run', 'admin'])
        .argParser((value: string, previous: string[] | undefined) => [
          ...(previous ?? []),
          scope(value),
        ])
        .makeOptionMandatory(),
    )
    .addOption(
      new Option('--expires <duration>', 'for how long it is valid, as in 12h or 30d').argParser(
        duration,
      ),
    )
    .action(
      async (name: string, options: { scope: string[]; expires?: number }, command: Command) => {
        const { openContext } = await import('../context.ts');
        const { createApiToken } = await import('../token-listing.ts');
        await createApiToken(await openContext(command), name, options);
      },
    );
  listOptions(token.command('ls').description('List the tokens.'), 'only the names').action(
    async (options: ListOptions, command: Command) => {
      const { openContext } = await import('../context.ts');
      const { printTokens } = await import('../token-listing.ts');
      await printTokens(await openContext(command), options);
    },
  );
  token
    .command('rm')
    .description('Remove tokens. They open nothing a second later.')
    .argument('<name...>', 'the tokens')
    .action(async (names: string[], _options: object, command: Command) => {
      const { openContext } = await import('../context.ts');
      const { removeApiTokens } = await import('../token-listing.ts');
      await removeApiTokens(await openContext(command), names);
    });
}

function scope(value: string): string {
  if (['read', 'pull', 'run', 'admin'].includes(value)) return value;
  throw new InvalidArgumentError('Allowed choices are read, pull, run, admin.');
}

/** Seconds. */
function duration(text: string): number {
  const ms = parseDuration(text);
  if (ms === undefined) {
    throw new InvalidArgumentError('It is a number with s, m, h or d behind it.');
  }
  return ms / 1000;
}
