import { DrayError } from '../../../shared/errors.ts';
import type { Descriptor } from '../../../shared/image/descriptor.ts';
import { type Digest, digestOf, parseDigest, splitDigest } from '../../../shared/image/digest.ts';
import { maxManifestBytes } from '../../../shared/image/manifest.ts';
import { type Answer, protocolError } from './answer.ts';
import { headerOf } from './header.ts';

/** The Content-Type of a manifest or index, without its parameters. @throws REGISTRY_PROTOCOL */
export function mediaTypeOf(answer: Answer): string {
  const type = headerOf(answer.headers, 'content-type')?.split(';')[0]?.trim().toLowerCase();
  if (type === undefined || type === '') throw protocolError(answer, 'without a Content-Type');
  return type;
}

/** A digest from a header, before it goes anywhere. */
export function checkedDigest(answer: Answer, text: string): Digest {
  try {
    return parseDigest(text);
  } catch (error) {
    throw new DrayError(
      'REGISTRY_PROTOCOL',
      `${answer.url.host} sent a Docker-Content-Digest that is none`,
      { cause: error, hint: 'The registry is broken.', context: { host: answer.url.host } },
    );
  }
}

/**
 * What a manifest or index is by its own bytes, which agree with the digest that was asked for and with the one that
 * the registry names.
 * @throws DIGEST_MISMATCH, REGISTRY_PROTOCOL
 */
export function verifiedDescriptor(
  answer: Answer,
  bytes: Buffer,
  wanted: Digest | undefined,
  what: string,
): Descriptor {
  const algorithm = wanted === undefined ? 'sha256' : splitDigest(wanted).algorithm;
  const digest = digestOf(bytes, algorithm);
  if (wanted !== undefined && digest !== wanted) throw otherDigest(what, wanted, digest);
  const named = headerOf(answer.headers, 'docker-content-digest');
  if (named !== undefined) {
    const claimed = checkedDigest(answer, named);
    const same = digestOf(bytes, splitDigest(claimed).algorithm);
    if (same !== claimed) throw otherDigest(what, claimed, same);
  }
  return { mediaType: mediaTypeOf(answer), digest, size: bytes.length };
}

export function otherDigest(what: string, expected: Digest, found: Digest): DrayError {
  return new DrayError(
    'DIGEST_MISMATCH',
    `${what} came with the digest ${found}, not ${expected}`,
    {
      context: { expected, found },
      hint: 'The registry, or something in between, changed the bytes.',
    },
  );
}

export function tooLarge(what: string): DrayError {
  return new DrayError(
    'MANIFEST_INVALID',
    `The manifest ${what} has more than ${maxManifestBytes} bytes`,
    { hint: 'Registries take no manifests that large: check what answers there.' },
  );
}

/** The query of the next page, where a Link header names one (RFC 8288); of where it leads, nothing else counts. */
export function nextPage(answer: Answer): string | undefined {
  const link = headerOf(answer.headers, 'link') ?? '';
  const [, target = ''] = /<([^>]{1,4096})>\s*;[^,]*\brel="?next"?/i.exec(link) ?? [];
  const query = target.indexOf('?');
  return query < 0 ? undefined : target.slice(query);
}
