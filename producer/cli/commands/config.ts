import type { Command } from 'commander';
import { credentialOption } from '../options.ts';

/** `dray config`: prints the configuration of an image. */
export function register(program: Command): void {
  program
    .command('config')
    .description('Print the configuration of an image, byte for byte.')
    .argument('<reference>', '[host[:port]/]repository[:tag][@digest]')
    .option('--platform <os/arch>', "of an index (default: this machine's)")
    .addOption(credentialOption())
    .addHelpText('after', '\nExamples:\n  dray config docker.io/library/redis:latest')
    .action(
      async (
        reference: string,
        options: { platform?: string; credential?: string },
        command: Command,
      ) => {
        const { openContext } = await import('../context.ts');
        const { printConfig } = await import('../documents.ts');
        await printConfig(await openContext(command), reference, options);
      },
    );
}
