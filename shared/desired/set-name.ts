import { DrayError } from '../errors.ts';
import { parseReference } from '../image/reference.ts';

const pattern = /^[a-z0-9](?:[a-z0-9._-]{0,61}[a-z0-9])?$/;

/** Checks what a desired set is to be called. @throws USAGE */
export function parseSetName(text: string): string {
  if (pattern.test(text)) return text;
  throw new DrayError('USAGE', `"${text}" is no name of a desired set`, {
    hint: 'Choose lower-case letters, digits, "-", "_" and ".", 63 of them at most.',
  });
}

/** What a set of an image is called where nobody chose a name: `redis-7.0` for `docker.io/library/redis:7.0`. */
export function defaultSetName(reference: string): string {
  const { repository, tag, digest } = parseReference(reference);
  const last = repository.slice(repository.lastIndexOf('/') + 1);
  const suffix = tag ?? digest?.slice(-12) ?? 'latest';
  const name = `${last}-${suffix}`.toLowerCase().replaceAll(/[^a-z0-9._-]/g, '-');
  return name.slice(0, 63).replaceAll(/^[^a-z0-9]+|[^a-z0-9]+$/g, '');
}
