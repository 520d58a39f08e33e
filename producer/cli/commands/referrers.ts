import type { Command } from 'commander';
import { credentialOption, listOptions, referenceArgument } from '../options.ts';
import type { ListOptions } from '../output.ts';

interface Options extends ListOptions {
  artifactType?: string;
  credential?: string;
}

/** `dray referrers`: what refers to an image. */
export function register(program: Command): void {
  listOptions(
    program
      .command('referrers')
      .description(
        'List what refers to an image in its repository: signatures, attestations, bills of materials.',
      )
      .addArgument(referenceArgument())
      .option('--artifact-type <type>', 'only those of this type')
      .addOption(credentialOption()),
    'only the digests',
  )
    .addHelpText('after', '\nExamples:\n  dray referrers docker.io/library/redis:latest')
    .action(async (reference: string, options: Options, command: Command) => {
      const { openContext } = await import('../context.ts');
      const { printReferrers } = await import('../documents.ts');
      await printReferrers(await openContext(command), reference, options);
    });
}
