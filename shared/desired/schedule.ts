import { CronExpressionParser } from 'cron-parser';
import { parseDuration } from '../duration.ts';
import { DrayError, messageOf } from '../errors.ts';

/** When something is done again. */
export interface Schedule {
  /** The first moment after that one. */
  next(after: Date): Date;
}

/** Milliseconds: more often nobody needs it, and registries limit it. */
const shortest = 10_000;

/**
 * Reads when a tag is looked at again: every so often (`30m`, `6h`), or at the times of a cron expression in UTC
 * (`0 3 * * *`: at three every day).
 * @throws USAGE
 */
export function parseSchedule(text: string): Schedule {
  const every = parseDuration(text);
  if (every !== undefined) {
    if (every < shortest) {
      throw new DrayError('USAGE', `A tag can't be looked at again every ${text}`, {
        hint: `Choose ${shortest / 1_000}s or more.`,
      });
    }
    return { next: (after) => new Date(after.getTime() + every) };
  }
  const at = (currentDate: Date) => CronExpressionParser.parse(text, { tz: 'UTC', currentDate });
  try {
    if (!/\s/.test(text.trim())) throw new Error('it has one field');
    at(new Date());
  } catch (error) {
    throw new DrayError('USAGE', `"${text}" is no schedule: ${messageOf(error)}`, {
      hint: 'Write a duration, as in 30m or 6h, or a cron expression in UTC, as in "0 3 * * *".',
      cause: error,
    });
  }
  return { next: (after) => at(after).next().toDate() };
}
