import type { Command } from 'commander';
import { credentialOption, outputOption, referenceArgument } from '../options.ts';
import type { OutputForm } from '../output.ts';

/** `dray resolve`: what a reference is now. */
export function register(program: Command): void {
  outputOption(
    program
      .command('resolve')
      .description(
        'Ask the registry what a reference is now, and print it with its digest. With -o json or yaml: the descriptor.',
      )
      .addArgument(referenceArgument())
      .addOption(credentialOption()),
  )
    .addHelpText('after', '\nExamples:\n  dray resolve docker.io/library/redis:latest')
    .action(
      async (
        reference: string,
        options: { output: OutputForm; credential?: string },
        command: Command,
      ) => {
        const { openContext } = await import('../context.ts');
        const { printResolved } = await import('../documents.ts');
        await printResolved(await openContext(command), reference, options);
      },
    );
}
