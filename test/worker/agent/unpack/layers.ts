import { once } from 'node:events';
import { buffer } from 'node:stream/consumers';
import { gzipSync } from 'node:zlib';
import { pack } from 'tar-stream';
import type { Verdict } from '../../../../shared/content/store.ts';
import type { ImageConfig } from '../../../../shared/image/config.ts';
import type { Descriptor } from '../../../../shared/image/descriptor.ts';
import { type DiffID, type Digest, digestOf } from '../../../../shared/image/digest.ts';
import type { Manifest } from '../../../../shared/image/manifest.ts';
import type { StoredContent } from '../../../../worker/agent/unpack/stored-layer.ts';

export interface TestLayer {
  descriptor: Descriptor;
  diffID: DiffID;
  blob: Buffer;
}

/** A gzip layer with these files: a string is a file's content, null a folder. */
export async function layerOf(files: Record<string, string | null>): Promise<TestLayer> {
  const tar = pack();
  for (const [name, content] of Object.entries(files)) {
    if (content === null) tar.entry({ name, type: 'directory', mode: 0o755 });
    else tar.entry({ name, mode: 0o644 }, content);
  }
  tar.finalize();
  const bytes = await buffer(tar);
  const blob = gzipSync(bytes);
  return {
    descriptor: {
      mediaType: 'application/vnd.oci.image.layer.v1.tar+gzip',
      digest: digestOf(blob),
      size: blob.length,
    },
    diffID: digestOf(bytes) as string as DiffID,
    blob,
  };
}

export function imageOf(layers: readonly TestLayer[]): {
  manifest: Pick<Manifest, 'layers'>;
  config: Pick<ImageConfig, 'rootfs'>;
} {
  return {
    manifest: { layers: layers.map(({ descriptor }) => descriptor) },
    config: { rootfs: { type: 'layers', diff_ids: layers.map(({ diffID }) => diffID) } },
  };
}

interface MemoryBlob {
  bytes: Uint8Array;
  isCommitted: boolean;
}

/** A content store whose ingests a test moves on by hand. */
export class MemoryContent implements StoredContent {
  readonly #blobs = new Map<Digest, MemoryBlob>();
  readonly #changed = new EventTarget();
  /** What becomes of the bytes of a blob on their way to who reads it. */
  onTheWay: (bytes: Uint8Array) => Uint8Array = (bytes) => bytes;
  /** The blobs that were read, once for each reading. */
  readonly readings: Digest[] = [];
  /** The blobs of which whoever follows them was given bytes, once for each time. */
  readonly followed: Digest[] = [];

  /** What is stored of a blob now: the whole of it when it is committed. */
  set(digest: Digest, bytes: Uint8Array, isCommitted: boolean): void {
    this.#blobs.set(digest, { bytes, isCommitted });
    this.#changed.dispatchEvent(new Event('changed'));
  }

  commit(...layers: readonly TestLayer[]): void {
    for (const { descriptor, blob } of layers) this.set(descriptor.digest, blob, true);
  }

  async info(digest: Digest) {
    const found = this.#blobs.get(digest);
    if (!found?.isCommitted) return undefined;
    return { digest, size: found.bytes.length, createdAt: new Date(0) };
  }

  async *read(digest: Digest) {
    const found = this.#blobs.get(digest);
    if (!found?.isCommitted) throw new Error(`${digest} is not committed`);
    this.readings.push(digest);
    yield this.onTheWay(found.bytes);
  }

  async verify(digest: Digest): Promise<Verdict> {
    const found = this.#blobs.get(digest);
    if (!found?.isCommitted) return 'missing';
    if (digestOf(found.bytes) === digest) return 'right';
    return 'wrong';
  }

  async *follow(
    { digest }: Descriptor,
    { signal, offset = 0 }: { signal?: AbortSignal; offset?: number } = {},
  ) {
    for (let at = offset; ; ) {
      signal?.throwIfAborted();
      const found = this.#blobs.get(digest);
      const more = found?.bytes.subarray(at) ?? new Uint8Array();
      at += more.length;
      if (more.length > 0) {
        this.followed.push(digest);
        yield more;
      } else if (found?.isCommitted) return;
      else await once(this.#changed, 'changed', signal === undefined ? {} : { signal });
    }
  }
}
