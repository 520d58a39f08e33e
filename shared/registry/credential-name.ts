import { DrayError } from '../errors.ts';

const form = /^[a-z0-9](?:[a-z0-9._-]{0,61}[a-z0-9])?$/;

/** Whether `text` can name a credential. Workers make a path of it. */
export function isCredentialName(text: string): boolean {
  return form.test(text) && !text.includes('..');
}

/** Checks the name of a credential that came from outside. @throws USAGE */
export function parseCredentialName(text: string): string {
  if (isCredentialName(text)) return text;
  throw new DrayError('USAGE', `"${text.slice(0, 100)}" is not the name of a credential`, {
    hint: 'A name has 1 to 63 lower-case letters, digits, "-", "_" and "."; the workers know what it stands for.',
  });
}
