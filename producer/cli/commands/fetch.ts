import type { Command } from 'commander';
import {
  credentialOption,
  type PlatformOptions,
  platformOf,
  platformOptions,
  progressOption,
  referenceArgument,
} from '../options.ts';
import type { ProgressForm } from '../progress/view.ts';

interface Options extends PlatformOptions {
  credential?: string;
  progress: ProgressForm;
}

/** `dray fetch`: brings an image into the content store. */
export function register(program: Command): void {
  platformOptions(
    program
      .command('fetch')
      .description('Bring an image into the content store, without unpacking it on any node.')
      .addArgument(referenceArgument()),
  )
    .addOption(credentialOption())
    .addOption(progressOption())
    .addHelpText(
      'after',
      '\nExamples:\n  dray fetch docker.io/library/redis:latest\n  dray fetch --all-platforms docker.io/library/redis:latest',
    )
    .action(async (reference: string, options: Options, command: Command) => {
      const { openContext } = await import('../context.ts');
      const { pinnedReference, pullImage } = await import('../pull.ts');
      const { credential, progress } = options;
      const status = await pullImage(await openContext(command), {
        ...{ reference, nodes: [], progress },
        ...platformOf(options),
        ...(credential === undefined ? {} : { credential }),
      });
      process.stdout.write(`${pinnedReference(status)}\n`);
    });
}
