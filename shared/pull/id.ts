import { randomUUID } from 'node:crypto';

/** A pull's id. They sort by time. */
export function newPullId(): string {
  // Its first 32 bits are random, and it asks the system for randomness less often than randomBytes.
  return `${Date.now().toString(36)}${randomUUID().slice(0, 8)}`;
}

/** What ids look like, those of older versions too. */
export const pullIdForm = /^[0-9a-z]{8,40}$/;
