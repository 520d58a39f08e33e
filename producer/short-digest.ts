import { DrayError } from '../shared/errors.ts';
import { type Digest, isDigest } from '../shared/image/digest.ts';

/** As tables show it: the algorithm and some digits, or the digits alone where they can hardly be a name. */
const shortForm = /^(?:(?:sha256|sha512):[0-9a-f]{4,127}|[0-9a-f]{12,128})$/;
/** Digests that an error names. */
const mostNamed = 5;

/** Whether a text can be a digest, whole or the beginning of one. */
export function isShortDigest(text: string): boolean {
  return shortForm.test(text) || isDigest(text);
}

/**
 * The one digest of those that there are which begins with what was written; undefined where none does. A digest that
 * is whole is itself, whatever there is.
 * @param text for which {@link isShortDigest} holds
 * @throws USAGE when several do
 */
export async function expandDigest(
  text: string,
  there: AsyncIterable<Digest> | Iterable<Digest>,
): Promise<Digest | undefined> {
  if (isDigest(text)) return text;
  const found = new Set<Digest>();
  for await (const digest of there) {
    if (digest.startsWith(text) || digest.slice(digest.indexOf(':') + 1).startsWith(text)) {
      found.add(digest);
    }
  }
  const [digest, ...others] = [...found].toSorted();
  if (others.length === 0) return digest;
  const named = [...found].toSorted().slice(0, mostNamed).join(', ');
  const more = found.size > mostNamed ? ` and ${found.size - mostNamed} more` : '';
  throw new DrayError('USAGE', `${text} is the beginning of several digests: ${named}${more}`, {
    hint: 'Write more of the one that is meant.',
  });
}
