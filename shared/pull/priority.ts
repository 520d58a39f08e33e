/** From first to last: what a person or a `run` waits for, what services ask for, bulk pre-pulls. */
export const priorities = ['high', 'normal', 'low'] as const;
export type Priority = (typeof priorities)[number];

/** 0 comes first. */
export function rankOf(priority: Priority): number {
  return priorities.indexOf(priority);
}

/** The one that comes first; `low` when there is none. */
export function highest(wanted: Iterable<Priority>): Priority {
  let first: Priority = 'low';
  for (const priority of wanted) if (rankOf(priority) < rankOf(first)) first = priority;
  return first;
}
