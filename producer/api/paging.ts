import { z } from 'zod';

/** The query of a list: how much of it, and from where. */
export function pageOf(cursor: z.ZodType<string>, limits: { most: number; usual: number }) {
  const { most, usual } = limits;
  return z.strictObject({
    limit: z.coerce
      .number()
      .int()
      .min(1)
      .max(most)
      .default(usual)
      .meta({ description: 'Items on one page' }),
    cursor: cursor.optional().meta({ description: 'The `next` of the page before' }),
  });
}

export interface Page<T> {
  items: T[];
  /** The cursor of the next page; none on the last one. */
  next?: string;
}

/** One page of what was asked for with one item more. */
export function cutPage<T>(found: T[], limit: number, cursorOf: (item: T) => string): Page<T> {
  const items = found.slice(0, limit);
  const last = items.at(-1);
  return found.length > limit && last !== undefined ? { items, next: cursorOf(last) } : { items };
}
