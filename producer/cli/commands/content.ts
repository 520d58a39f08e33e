import { type Command, InvalidArgumentError } from 'commander';
import { listOptions } from '../options.ts';
import type { ListOptions } from '../output.ts';

/** `dray content`: the blobs of the content store. */
export function register(program: Command): void {
  const content = program
    .command('content')
    .description(
      'List, read, add, verify and remove the blobs of the content store. Without a verb it lists, with the options of ls.',
    )
    .addHelpText(
      'after',
      `
Examples:
  dray content ls
  dray content get sha256:… > blob
  dray content ingest --expected-digest sha256:… --expected-size 1234 < blob
  dray content verify
  dray content rm sha256:…`,
    );
  listOptions(
    content.command('ls', { isDefault: true }).summary('list blobs').description('List all blobs.'),
    'only the digests',
  ).action(async (options: ListOptions, command: Command) => {
    const { listContent } = await import('../content-blobs.ts');
    const { openContext } = await import('../context.ts');
    await listContent(await openContext(command), options);
  });

  content
    .command('get')
    .summary('write a blob to standard output')
    .description('Write a blob to standard output.')
    .argument('<digest>', 'the blob; the first digits are enough')
    .action(async (digest: string, _options: object, command: Command) => {
      const { getContent } = await import('../content-blobs.ts');
      const { openContext } = await import('../context.ts');
      await getContent(await openContext(command), digest);
    });

  content
    .command('ingest')
    .summary('add a blob from standard input')
    .description(
      'Add a blob from standard input, and print its digest. It becomes readable once it was verified.',
    )
    .option('--expected-digest <digest>', 'what it must be')
    .option('--expected-size <bytes>', 'how many bytes it must have', wholeNumber)
    .action(async (options: IngestOptions, command: Command) => {
      const { ingestContent } = await import('../content-blobs.ts');
      const { openContext } = await import('../context.ts');
      await ingestContent(await openContext(command), options);
    });

  content
    .command('verify')
    .summary('compare blobs with their digests')
    .description(
      'Read blobs whole, and compare them with their digests. A wrong one is set aside: the next pull that needs it fetches it again.',
    )
    .argument('[digest...]', 'the blobs; the first digits are enough (default: all)')
    .option('-n, --dry-run', 'only look: what is wrong stays where it is')
    .action(async (digests: string[], options: { dryRun?: boolean }, command: Command) => {
      const { verifyContent } = await import('../content-blobs.ts');
      const { openContext } = await import('../context.ts');
      await verifyContent(await openContext(command), digests, options);
    });

  content
    .command('rm')
    .summary('remove blobs')
    .description('Remove blobs, whoever needs them. What nobody needs goes by itself: see dray gc.')
    .argument('<digest...>', 'the blobs; the first digits are enough')
    .action(async (digests: string[], _options: object, command: Command) => {
      const { removeContent } = await import('../content-blobs.ts');
      const { openContext } = await import('../context.ts');
      await removeContent(await openContext(command), digests);
    });
}

interface IngestOptions {
  expectedDigest?: string;
  expectedSize?: number;
}

function wholeNumber(text: string): number {
  if (/^\d+$/.test(text) && Number.isSafeInteger(Number(text))) return Number(text);
  throw new InvalidArgumentError('It must be a number of bytes.');
}
