import { randomHex } from '../random-hex.ts';

/** A pull's id. They sort by time. */
export function newPullId(): string {
  return `${Date.now().toString(36)}${randomHex(4)}`;
}

/** What ids look like, those of older versions too. */
export const pullIdForm = /^[0-9a-z]{8,40}$/;
