import { type Command, InvalidArgumentError } from 'commander';
import { outputOption } from '../options.ts';
import type { OutputForm } from '../output.ts';

interface Options {
  rate?: number;
  burst?: number;
  concurrent?: number;
  bandwidth?: number;
  workerBandwidth?: number;
  clear?: boolean;
  output: OutputForm;
}

/** `dray registry`: what the fleet may ask of registries. */
export function register(program: Command): void {
  const registry = program
    .command('registry')
    .description('Show and set what the workers of the fleet together may ask of a registry.')
    .addHelpText(
      'after',
      '\nExamples:\n  dray registry limits\n  dray registry limits docker.io --rate 5 --concurrent 8',
    );
  outputOption(
    registry
      .command('limits')
      .description(
        'Show the limits of registries, or set those of one. They count for all workers at once, from the next request on. A registry that answers 429 is not asked again before it says, with or without limits.',
      )
      .argument('[host]', 'host[:port] as in references; or the host of a mirror')
      .option('--rate <number>', 'requests a second; may be a fraction', positive)
      .option(
        '--burst <number>',
        "requests at once, after a time without (default: a second's)",
        positive,
      )
      .option('--concurrent <number>', 'requests under way', positive)
      .option('--bandwidth <bytes>', 'bytes of blobs a second; k, M, G behind it', bytes)
      .option('--worker-bandwidth <bytes>', 'the same for each worker', bytes)
      .option('--clear', 'remove all limits of the registry; those given with it are set'),
  )
    .addHelpText(
      'after',
      `
Examples:
  dray registry limits docker.io --rate 5 --concurrent 8
  dray registry limits registry.example:5000 --bandwidth 50M
  dray registry limits
  dray registry limits docker.io --clear`,
    )
    .action(async (host: string | undefined, options: Options, command: Command) => {
      const { openContext } = await import('../context.ts');
      const { changeLimits, printLimits } = await import('../registry-limits.ts');
      const context = await openContext(command);
      const { output, clear = false, ...given } = options;
      if (Object.keys(given).length > 0 || clear) {
        await changeLimits(context, host, { clear, ...given });
      }
      await printLimits(context, host, { output });
    });
}

function positive(text: string): number {
  if (/^\d{1,7}(\.\d{1,6})?$/.test(text) && Number(text) > 0) return Number(text);
  throw new InvalidArgumentError('It is a number above 0.');
}

const units: Record<string, number> = { '': 1, k: 1e3, K: 1e3, M: 1e6, G: 1e9 };

function bytes(text: string): number {
  const [, number, unit = ''] = /^([1-9]\d{0,11})([kKMG]?)$/.exec(text) ?? [];
  if (number === undefined) throw new InvalidArgumentError('It is as in 500000, 500k or 50M.');
  return Number(number) * (units[unit] ?? 1);
}
