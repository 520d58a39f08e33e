import { type Command, InvalidArgumentError } from 'commander';
import { collect, outputOption } from '../options.ts';
import type { OutputForm } from '../output.ts';

interface Options {
  dryRun?: boolean;
  grace?: number;
  node?: string[];
  store?: boolean;
  output: OutputForm;
}

/** `dray gc`: removes what nobody needs any more. */
export function register(program: Command): void {
  outputOption(
    program
      .command('gc')
      .description(
        'Remove what nobody needs any more: blobs of the content store that no image, pull or desired set leads to, names that the rules let go, what dead writers left; and on nodes the snapshots of such images, and while a disk is too full those that were used longest ago. It happens by itself, too; this does it now, and says what went and why.',
      )
      .option('-n, --dry-run', 'only say what would go, and why')
      .option(
        '--grace <duration>',
        'how long what nobody needs stays: 0s, 30m, 12h, 7d (default: the configured one, 24h)',
        duration,
      )
      .option('--node <name>', 'only on this node; may be repeated', collect)
      .option('--store', 'only in the content store'),
  )
    .addHelpText(
      'after',
      `
What a running pull or a container needs never goes, whatever --grace says.

Examples:
  dray gc --dry-run
  dray images rm docker.io/library/redis:latest && dray gc --grace 0s
  dray gc --node node-a -o json`,
    )
    .action(async (options: Options, command: Command) => {
      const { openContext } = await import('../context.ts');
      const { runGc } = await import('../gc.ts');
      const { dryRun = false, grace, node: nodes = [], store = false, output } = options;
      await runGc(await openContext(command), {
        ...{ dryRun, output },
        nodes: nodes.length > 0 || store ? nodes : 'all',
        store: store || nodes.length === 0,
        ...(grace === undefined ? {} : { graceMs: grace }),
      });
    });
}

const units: Record<string, number> = { s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 };

function duration(text: string): number {
  const [, number, unit = ''] = /^(\d{1,6})([smhd])$/.exec(text) ?? [];
  if (number === undefined) throw new InvalidArgumentError('It is as in 0s, 30m, 12h or 7d.');
  return Number(number) * (units[unit] ?? 0);
}
