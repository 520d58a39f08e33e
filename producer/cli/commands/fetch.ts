import type { Command } from 'commander';
import { credentialOption, progressOption } from '../options.ts';
import type { ProgressForm } from '../progress/view.ts';

interface Options {
  platform?: string;
  credential?: string;
  progress: ProgressForm;
}

/** `dray fetch`: brings an image into the content store. */
export function register(program: Command): void {
  program
    .command('fetch')
    .description('Bring an image into the content store, without unpacking it on any node.')
    .argument('<reference>', '[host[:port]/]repository[:tag][@digest]')
    .option('--platform <os/arch>', "of an index, or all (default: this machine's)")
    .addOption(credentialOption())
    .addOption(progressOption())
    .addHelpText('after', '\nExamples:\n  dray fetch docker.io/library/redis:latest')
    .action(async (reference: string, options: Options, command: Command) => {
      const { openContext } = await import('../context.ts');
      const { pinnedReference, pullImage } = await import('../pull.ts');
      const status = await pullImage(await openContext(command), {
        reference,
        nodes: [],
        ...options,
      });
      process.stdout.write(`${pinnedReference(status)}\n`);
    });
}
