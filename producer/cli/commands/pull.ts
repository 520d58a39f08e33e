import type { Command } from 'commander';
import { collect, credentialOption, progressOption } from '../options.ts';
import type { ProgressForm } from '../progress/view.ts';

interface Options {
  platform?: string;
  node?: string[];
  credential?: string;
  progress: ProgressForm;
  detach?: boolean;
}

/** `dray pull`: brings an image to nodes, ready to run. */
export function register(program: Command): void {
  program
    .command('pull')
    .description(
      'Bring an image to nodes, ready to run. Progress goes to standard error; the result, the reference with its digest, to standard output.',
    )
    .argument('<reference>', '[host[:port]/]repository[:tag][@digest]')
    .option('--platform <os/arch>', "of an index, or all (default: this machine's)")
    .option(
      '--node <name>',
      'a node that shall hold the image; may be repeated (default: this one)',
      collect,
    )
    .addOption(credentialOption())
    .addOption(progressOption())
    .option('-d, --detach', 'print the id of the pull and do not wait')
    .addHelpText(
      'after',
      `
Ctrl-C stops the looking, not the pull.

Examples:
  dray pull docker.io/library/redis:latest
  dray pull --node node-a --node node-b ghcr.io/org/app:1.2
  dray pull --platform linux/arm64 --progress plain alpine
  dray pull-status -w $(dray pull --detach alpine)`,
    )
    .action(async (reference: string, options: Options, command: Command) => {
      const { openContext } = await import('../context.ts');
      const { pinnedReference, pullDetached, pullImage } = await import('../pull.ts');
      const context = await openContext(command);
      const { platform, node: nodes, credential, progress } = options;
      const request = {
        reference,
        progress,
        ...(platform === undefined ? {} : { platform }),
        ...(credential === undefined ? {} : { credential }),
        ...(nodes === undefined ? {} : { nodes }),
      };
      const result =
        options.detach === true
          ? await pullDetached(context, request)
          : pinnedReference(await pullImage(context, request));
      process.stdout.write(`${result}\n`);
    });
}
