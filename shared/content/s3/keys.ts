import { randomUUID } from 'node:crypto';
import { type Digest, isDigest, splitDigest } from '../../image/digest.ts';

/** Where everything stands under the prefix. The version is in the keys, so that another form can stand beside. */
export class Keys {
  readonly root: string;

  /** `prefix` is empty or ends in `/`. */
  constructor(prefix: string) {
    this.root = `${prefix}v1/`;
  }

  get blobs(): string {
    return `${this.root}blobs/`;
  }

  blob(digest: Digest): string {
    return `${this.blobs}${pathOfDigest(digest)}`;
  }

  get images(): string {
    return `${this.root}images/`;
  }

  /** Before the records of who may have what. */
  get access(): string {
    return `${this.root}access/`;
  }

  /** Before the records of desired sets. */
  get desired(): string {
    return `${this.root}desired/`;
  }

  /** Before what was found to be wrong. */
  get setAside(): string {
    return `${this.root}set-aside/`;
  }

  /** For one more wrong object of a digest. */
  wrong(digest: Digest): string {
    return `${this.setAside}${pathOfDigest(digest)}/${randomUUID()}`;
  }

  get ingests(): string {
    return `${this.root}ingests/`;
  }

  /** Before the parts of all writers of one blob. */
  ingest(digest: Digest): string {
    return `${this.ingests}${pathOfDigest(digest)}/`;
  }

  /** Before the parts of a new writer. */
  writer(digest: Digest, size: number): string {
    return `${this.ingest(digest)}${size}.${randomUUID()}/`;
  }

  /** The digest of a blob's key, or undefined for anything else that stands there. */
  digestOfBlob(key: string): Digest | undefined {
    return toDigest(key.slice(this.blobs.length).split('/'));
  }

  /** The digest that an object which was set aside should have had, or undefined for anything else that stands there. */
  digestOfWrong(key: string): Digest | undefined {
    return toDigest(key.slice(this.setAside.length).split('/').slice(0, 2));
  }

  /** What a part's key says, or undefined for anything else that stands there. */
  parsePart(key: string): PartKey | undefined {
    const [algorithm = '', hex = '', writer = '', offset = '', ...rest] = key
      .slice(this.ingests.length)
      .split('/');
    const digest = toDigest([algorithm, hex]);
    const size = /^(\d{1,16})\.[0-9a-f-]{36}$/.exec(writer)?.[1];
    if (digest === undefined || size === undefined || rest.length > 0) return undefined;
    if (!/^\d{16}$/.test(offset)) return undefined;
    return { digest, writer, blobSize: Number(size), offset: Number(offset) };
  }
}

export interface PartKey {
  digest: Digest;
  writer: string;
  /** The descriptor's size. */
  blobSize: number;
  /** Where in the blob the part begins. */
  offset: number;
}

/** The last step of a part's key, in an order that listings keep. */
export function offsetKey(offset: number): string {
  return String(offset).padStart(16, '0');
}

function pathOfDigest(digest: Digest): string {
  const { algorithm, hex } = splitDigest(digest);
  return `${algorithm}/${hex}`;
}

function toDigest([algorithm, hex, ...rest]: string[]): Digest | undefined {
  const text = `${algorithm}:${hex}`;
  return rest.length === 0 && isDigest(text) ? text : undefined;
}
