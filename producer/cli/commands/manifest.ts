import type { Command } from 'commander';
import { credentialOption } from '../options.ts';

/** `dray manifest`: prints an index or manifest. */
export function register(program: Command): void {
  program
    .command('manifest')
    .description(
      'Print the index or manifest that a reference leads to, byte for byte; with --platform the manifest of that platform.',
    )
    .argument('<reference>', '[host[:port]/]repository[:tag][@digest]')
    .option('--platform <os/arch>', 'the manifest of this platform')
    .addOption(credentialOption())
    .addHelpText('after', '\nExamples:\n  dray manifest docker.io/library/redis:latest')
    .action(
      async (
        reference: string,
        options: { platform?: string; credential?: string },
        command: Command,
      ) => {
        const { openContext } = await import('../context.ts');
        const { printManifest } = await import('../documents.ts');
        await printManifest(await openContext(command), reference, options);
      },
    );
}
