import type { Command } from 'commander';
import type { DocumentOptions } from './documents.ts';
import { credentialOption, referenceArgument } from './options.ts';

/**
 * A command that prints a document of an image, byte for byte: `dray manifest`, `dray config`.
 * @param print the function of documents.ts that does it
 */
export function documentCommand(
  program: Command,
  name: string,
  about: { description: string; platform: string; print: 'printManifest' | 'printConfig' },
): void {
  program
    .command(name)
    .description(about.description)
    .addArgument(referenceArgument())
    .option('--platform <os/arch>', about.platform)
    .addOption(credentialOption())
    .addHelpText('after', `\nExamples:\n  dray ${name} docker.io/library/redis:latest`)
    .action(async (reference: string, options: DocumentOptions, command: Command) => {
      const { openContext } = await import('./context.ts');
      const documents = await import('./documents.ts');
      await documents[about.print](await openContext(command), reference, options);
    });
}
