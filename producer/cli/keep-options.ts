import type { Command } from 'commander';
import type { Priority } from '../../shared/pull/priority.ts';
import type { Keeping } from '../keep.ts';
import { countFrom, duration } from './pace-options.ts';

export interface KeepOptions {
  keep?: boolean;
  keepAs?: string;
  keepFor?: number;
  retain?: number;
  schedule?: string;
}

/** Versions before the current one that stay on the nodes where nobody says how many. */
const usualRetained = 1;

/** The options of an image that nodes shall hold from now on. */
export function keepOptions(command: Command): Command {
  return command
    .option(
      '--keep',
      'the nodes shall hold it from now on: also those that join later and match, and those that lose it',
    )
    .option('--keep-as <name>', 'the same, under a name (default: after the image)')
    .option(
      '--keep-for <duration>',
      'how long it is kept, as in 30d (default: until dray desired rm)',
      duration,
    )
    .option(
      '--retain <count>',
      `versions before the current one that are kept, too (default: ${usualRetained})`,
      countFrom(0),
    )
    .option(
      '--schedule <when>',
      'look at the tag again, and roll out what is new: every 6h, or at the times of a cron expression in UTC',
    );
}

/** What the options say; undefined when nothing is to be kept. */
export function keepingOf(options: KeepOptions & { priority?: Priority }): Keeping | undefined {
  const { keep, keepAs, keepFor, retain, schedule, priority } = options;
  const all = [keep, keepAs, keepFor, retain, schedule];
  if (all.every((option) => option === undefined)) return undefined;
  return {
    retention: {
      previous: retain ?? usualRetained,
      ...(keepFor === undefined ? {} : { until: new Date(Date.now() + keepFor) }),
    },
    ...(keepAs === undefined ? {} : { name: keepAs }),
    ...(schedule === undefined ? {} : { schedule }),
    ...(priority === undefined ? {} : { priority }),
  };
}
