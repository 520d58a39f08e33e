import { type Command, InvalidArgumentError } from 'commander';
import { parseDuration } from '../../shared/duration.ts';
import type { Pace } from '../../shared/pull/pace.ts';

/** What a command line says of where and how an image is rolled out. */
export interface RolloutOptions {
  selector?: string;
  allNodes?: boolean;
  parallelism?: number;
  canary?: number;
  maxFailures?: number;
  timeout?: number;
  progressDeadline?: number;
}

/** The options of a rollout. */
export function rolloutOptions(command: Command): Command {
  return command
    .option('-l, --selector <selector>', "the nodes that fulfil it, as in 'zone=a,gpu!=none'")
    .option('--all-nodes', 'every node of the fleet that is neither lost nor cordoned')
    .option(
      '--parallelism <count>',
      'nodes that are under way at once (default: all)',
      countFrom(1),
    )
    .option(
      '--canary <count>',
      'so many nodes come first, and must all be ready before any other begins',
      countFrom(1),
    )
    .option(
      '--max-failures <count>',
      'when more nodes than these have failed, no other begins (default: no bound)',
      countFrom(0),
    )
    .option('--timeout <duration>', 'in which the pull must have ended, as in 30m', duration)
    .option(
      '--progress-deadline <duration>',
      'without any progress for so long, the content, or a node, is given up (default: lost nodes after 2m)',
      duration,
    );
}

/** The selector of the options; undefined when they name no nodes by one. */
export function selectorOf({ selector, allNodes }: RolloutOptions): string | undefined {
  return allNodes === true && selector === undefined ? '' : selector;
}

export function paceOf(options: RolloutOptions): Pace {
  const { parallelism, canary, maxFailures, timeout, progressDeadline } = options;
  return {
    ...(parallelism === undefined ? {} : { parallelism }),
    ...(canary === undefined ? {} : { canary }),
    ...(maxFailures === undefined ? {} : { maxFailures }),
    ...(timeout === undefined ? {} : { timeoutMs: timeout }),
    ...(progressDeadline === undefined ? {} : { noProgressMs: progressDeadline }),
  };
}

/** Reads a count for an option. */
export function countFrom(least: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (/^\d{1,7}$/.test(text) && value >= least) return value;
    throw new InvalidArgumentError(`It must be a whole number, ${least} or more.`);
  };
}

/** Reads a duration for an option, into milliseconds. */
export function duration(text: string): number {
  const ms = parseDuration(text);
  if (ms !== undefined) return ms;
  throw new InvalidArgumentError('It must be a duration, as in 30s, 10m, 12h or 7d.');
}
