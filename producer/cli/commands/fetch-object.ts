import type { Command } from 'commander';
import { credentialOption, progressOption } from '../options.ts';
import type { ProgressForm } from '../progress/view.ts';

/** `dray fetch-object`: brings one object into the content store. */
export function register(program: Command): void {
  program
    .command('fetch-object')
    .description(
      'Bring one object (an index, a manifest or a blob) into the content store, and print its digest. Nothing that it refers to is fetched, and no image gets a name.',
    )
    .argument('<reference>', 'host/repository@digest')
    .addOption(credentialOption())
    .addOption(progressOption())
    .addHelpText(
      'after',
      '\nExamples:\n  dray fetch-object docker.io/library/redis@sha256:…\n  dray content get sha256:… | less',
    )
    .action(async (reference: string, options: { progress: ProgressForm }, command: Command) => {
      const { openContext } = await import('../context.ts');
      const { DrayError } = await import('../../../shared/errors.ts');
      const { parseReference } = await import('../../../shared/image/reference.ts');
      const { digest } = parseReference(reference);
      if (digest === undefined) {
        throw new DrayError('USAGE', `${reference} names no object: it has no digest`, {
          hint: 'Write host/repository@sha256:…',
        });
      }
      const { pullImage } = await import('../pull.ts');
      const context = await openContext(command);
      await pullImage(context, { reference, nodes: [], want: 'object', ...options });
      process.stdout.write(`${digest}\n`);
    });
}
