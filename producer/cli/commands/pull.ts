import { type Command, Option } from 'commander';
import { type Priority, priorities } from '../../../shared/pull/priority.ts';
import { type KeepOptions, keepingOf, keepOptions } from '../keep-options.ts';
import {
  collect,
  credentialOption,
  type PlatformOptions,
  platformOf,
  platformOptions,
  progressOption,
  pullPolicyOption,
  referenceArgument,
} from '../options.ts';
import { paceOf, type RolloutOptions, rolloutOptions, selectorOf } from '../pace-options.ts';
import type { ProgressForm } from '../progress/view.ts';

interface Options extends PlatformOptions, RolloutOptions, KeepOptions {
  node?: string[];
  credential?: string;
  pull: string;
  priority?: Priority;
  progress: ProgressForm;
  detach?: boolean;
}

/** `dray pull`: brings an image to nodes, ready to run. */
export function register(program: Command): void {
  const pull = platformOptions(
    program
      .command('pull')
      .description(
        'Bring an image to nodes, ready to run. Progress goes to standard error; the result, the reference with its digest, to standard output.',
      )
      .addArgument(referenceArgument()),
    "each node's own",
  );
  pull.option(
    '--node <name>',
    'a node that shall hold the image; may be repeated (default: this one)',
    collect,
  );
  keepOptions(rolloutOptions(pull))
    .addOption(credentialOption())
    .addOption(pullPolicyOption('always'))
    .addOption(
      new Option(
        '--priority <priority>',
        'low: for bulk pre-pulls (default: high, with --detach normal)',
      ).choices(priorities),
    )
    .addOption(progressOption())
    .option('-d, --detach', 'print the id of the pull and do not wait')
    .addHelpText(
      'after',
      `
Ctrl-C stops the looking, not the pull.

Exit codes: 0 every node is ready, 1 it failed, 3 it is partial: some nodes are
ready, the others failed or never began.

Examples:
  dray pull docker.io/library/redis:latest
  dray pull --node node-a --node node-b ghcr.io/org/app:1.2
  dray pull --all-nodes --canary 2 --parallelism 50 --max-failures 5 ghcr.io/org/app:1.2
  dray pull --selector 'zone in (a,b),gpu!=none' --timeout 1h ghcr.io/org/app:1.2
  dray pull --keep --selector zone=a --schedule 6h ghcr.io/org/app:1
  dray pull --platform linux/arm64 --progress plain alpine
  dray pull --pull if-stale=12h alpine
  dray pull --detach --priority low --node node-a alpine
  dray pull-status -w $(dray pull --detach alpine)`,
    )
    .action(async (reference: string, options: Options, command: Command) => {
      const { openContext } = await import('../context.ts');
      const { pinnedReference, pullDetached, pullImage } = await import('../pull.ts');
      const context = await openContext(command);
      const { node: nodes, credential, progress, priority, pull: policy } = options;
      const selector = selectorOf(options);
      const keeping = keepingOf(options);
      const request = {
        reference,
        progress,
        policy,
        ...(priority === undefined ? {} : { priority }),
        ...platformOf(options),
        ...(credential === undefined ? {} : { credential }),
        ...(nodes === undefined ? {} : { nodes }),
        ...(selector === undefined ? {} : { selector }),
        pace: paceOf(options),
        ...(keeping === undefined ? {} : { keeping }),
      };
      const result =
        options.detach === true
          ? await pullDetached(context, request)
          : pinnedReference(await pullImage(context, request));
      process.stdout.write(`${result}\n`);
    });
}
