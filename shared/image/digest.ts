import { DrayError } from '../errors.ts';

declare const brand: unique symbol;

/** `algorithm:encoded` over exact bytes (image-spec, descriptor.md#digests). Minted by {@link parseDigest}. */
export type Digest = string & { readonly [brand]: 'Digest' };
/** The digest of a layer's uncompressed tar (image-spec, config.md#layer-diffid). */
export type DiffID = string & { readonly [brand]: 'DiffID' };
/** The name of a stack of layers (image-spec, config.md#layer-chainid). */
export type ChainID = string & { readonly [brand]: 'ChainID' };

export type DigestAlgorithm = 'sha256' | 'sha512';

const hexLength: Record<DigestAlgorithm, number> = { sha256: 64, sha512: 128 };
const form = /^(sha256|sha512):([0-9a-f]+)$/;

/** Whether `text` is a digest of a supported algorithm, in lower-case hex of the right length. */
export function isDigest(text: string): text is Digest {
  const match = form.exec(text);
  return match !== null && match[2]?.length === hexLength[match[1] as DigestAlgorithm];
}

/**
 * Checks a digest that came from outside. Everything that becomes a path or a key passes here first.
 * @throws DIGEST_INVALID
 */
export function parseDigest(text: string): Digest {
  if (isDigest(text)) return text;
  throw new DrayError('DIGEST_INVALID', `"${clip(text)}" is not a digest`, {
    hint: 'A digest is sha256:<64 hex digits> or sha512:<128 hex digits>, in lower case.',
  });
}

/** Checks a diffID that came from outside. @throws DIGEST_INVALID */
export function parseDiffID(text: string): DiffID {
  return parseDigest(text) as string as DiffID;
}

/** Checks a chainID that came from outside. @throws DIGEST_INVALID */
export function parseChainID(text: string): ChainID {
  return parseDigest(text) as string as ChainID;
}

/** The two halves of a digest. */
export function splitDigest(digest: Digest | DiffID | ChainID): {
  algorithm: DigestAlgorithm;
  hex: string;
} {
  const [algorithm, hex] = digest.split(':') as [DigestAlgorithm, string];
  return { algorithm, hex };
}

/** The digest of `bytes`. */
export function digestOf(
  bytes: Uint8Array | string,
  algorithm: DigestAlgorithm = 'sha256',
): Digest {
  // The largest of Node's own modules: who only looks at digests, as dray run does, need not wait for it.
  const { createHash } = process.getBuiltinModule('node:crypto');
  return `${algorithm}:${createHash(algorithm).update(bytes).digest('hex')}` as Digest;
}

/** The chainIDs of a stack, lowest first: chainID(n) = sha256(chainID(n-1) + " " + diffID(n)). */
export function chainIDs(diffIDs: readonly DiffID[]): ChainID[] {
  const chain: ChainID[] = [];
  for (const diffID of diffIDs) {
    const parent = chain.at(-1);
    chain.push(
      (parent === undefined ? diffID : digestOf(`${parent} ${diffID}`)) as string as ChainID,
    );
  }
  return chain;
}

function clip(text: string): string {
  return text.length > 100 ? `${text.slice(0, 100)}…` : text;
}
