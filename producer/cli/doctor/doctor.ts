import { existsSync } from 'node:fs';
import { styleText } from 'node:util';
import type { Config } from '../../../shared/config/config.ts';
import type { Context } from '../context.ts';
import { type OutputForm, outputWidth, printable, printValue, wrapText } from '../output.ts';
import { type Check, type CheckResult, type CheckState, skipped } from './check.ts';
import { fleetChecks, outcomeOf } from './fleet.ts';
import { nodeChecks } from './node.ts';

const colors = { ok: 'green', warning: 'yellow', failed: 'red', skipped: 'gray' } as const;
/** Milliseconds after which something that does not answer counts as failed. */
const lookBound = 15_000;

/** `dray doctor` @returns whether nothing failed */
export async function examine(
  context: Context,
  options: { output: OutputForm; node?: boolean },
): Promise<boolean> {
  const { config } = context;
  const isNode = options.node ?? (config.embedded || existsSync(config.agent.socket));
  const checks = [
    ...(isDown(config) ? [notStarted] : fleetChecks(config)),
    ...(isNode ? nodeChecks(config) : [noNode]),
  ];
  const results = await Promise.all(checks.map(result));
  printValue(results, options.output, () => format(results));
  return results.every(({ state }) => state !== 'failed');
}

const notStarted: Check = {
  name: 'redis, store',
  look: async () => skipped('the embedded fleet does not run: dray up'),
};
const noNode: Check = {
  name: 'node',
  look: async () =>
    skipped('this machine has no agent; to check it all the same: dray doctor --node'),
};

/** The embedded fleet's own Redis has a socket as long as it runs. */
function isDown(config: Config): boolean {
  return config.embedded && !existsSync(config.redis.url.replace(/^unix:\/\//, ''));
}

async function result({ name, look }: Check): Promise<CheckResult> {
  const late = Promise.withResolvers<never>();
  const timer = setTimeout(
    () => late.reject(new Error(`no answer in ${lookBound / 1_000} s`)),
    lookBound,
  );
  try {
    return { name, ...(await Promise.race([look(), late.promise])) };
  } catch (error) {
    return { name, ...outcomeOf(error) };
  } finally {
    clearTimeout(timer);
  }
}

function format(results: readonly CheckResult[]): string {
  const width = Math.max(...results.map(({ name }) => name.length));
  const color = process.stdout.isTTY && (process.env.NO_COLOR ?? '') === '';
  const paint = (state: CheckState) => {
    const word = state.padEnd(7);
    return color ? styleText(colors[state], word, { validateStream: false }) : word;
  };
  const margin = ' '.repeat(width + 11);
  const room = (outputWidth() ?? Number.POSITIVE_INFINITY) - margin.length;
  const below = (text: string) => wrapText(printable(text), room).join(`\n${margin}`);
  const lines = results.flatMap(({ name, state, found, hint }) => [
    `${paint(state)}  ${name.padEnd(width)}  ${below(found)}`,
    ...(hint === undefined ? [] : [`${margin}${below(`→ ${hint}`)}`]),
  ]);
  const count = (state: CheckState) => results.filter((each) => each.state === state).length;
  const [bad, doubtful] = [count('failed'), count('warning')];
  const verdict =
    bad + doubtful === 0
      ? 'all is well'
      : [bad > 0 ? `${bad} failed` : '', doubtful > 0 ? `${doubtful} to look at` : '']
          .filter(Boolean)
          .join(', ');
  return `${[...lines, '', verdict].join('\n')}\n`;
}
