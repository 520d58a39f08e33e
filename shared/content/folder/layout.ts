import { randomUUID } from 'node:crypto';
import { chmod, mkdir, open, readFile, rename, rm } from 'node:fs/promises';
import path from 'node:path';
import { DrayError } from '../../errors.ts';
import { type Digest, isDigest, splitDigest } from '../../image/digest.ts';
import { syncFolder } from '../../sync-folder.ts';
import { ifThere } from './errors.ts';

/** Where everything stands in the folder: an OCI image layout (image-spec, image-layout.md) with some folders more. */
export class Layout {
  readonly root: string;

  constructor(root: string) {
    this.root = path.resolve(root);
  }

  blobFolder(algorithm: string): string {
    return path.join(this.root, 'blobs', algorithm);
  }

  blob(digest: Digest): string {
    const { algorithm, hex } = splitDigest(digest);
    return path.join(this.root, 'blobs', algorithm, hex);
  }

  get ingests(): string {
    return path.join(this.root, 'ingest');
  }

  /** The files of all writers of one blob. */
  ingestFolder(digest: Digest): string {
    return path.join(this.ingests, digest.replace(':', '-'));
  }

  /** What was found to be wrong. */
  get setAside(): string {
    return path.join(this.root, 'set-aside');
  }

  get images(): string {
    return path.join(this.root, 'images');
  }

  /** The records of who may have what. */
  get access(): string {
    return path.join(this.root, 'access');
  }

  /** The records of desired sets. */
  get desired(): string {
    return path.join(this.root, 'desired');
  }

  /** Held by whoever changes one of them. */
  get desiredLock(): string {
    return path.join(this.root, 'desired.lock');
  }

  get index(): string {
    return path.join(this.root, 'index.json');
  }
}

export const algorithms = ['sha256', 'sha512'] as const;

/** What {@link replaceFile} leaves when it is killed. */
export const temporaryPrefix = '.new-';

const layoutVersion = '1.0.0';

/** Makes what is missing of the layout; only its owner may look into it. @throws STORE_UNAVAILABLE for another version */
export async function prepareLayout(layout: Layout): Promise<void> {
  await mkdir(layout.root, { recursive: true, mode: 0o700 });
  const file = path.join(layout.root, 'oci-layout');
  const found = await ifThere(readFile(file, 'utf8'));
  if (found !== undefined) {
    if (!found.includes(`"${layoutVersion}"`)) {
      throw new DrayError('STORE_UNAVAILABLE', `${file} is not of version ${layoutVersion}`, {
        hint: 'Give drayage a folder of its own for its content store.',
      });
    }
  } else {
    await chmod(layout.root, 0o700);
  }
  const blobs = algorithms.map((a) => layout.blobFolder(a));
  const records = [layout.images, layout.desired, layout.access];
  const folders = [...blobs, layout.ingests, ...records, layout.setAside];
  for (const folder of folders) await mkdir(folder, { recursive: true, mode: 0o700 });
  // Last: whoever finds it finds the whole layout.
  if (found === undefined) {
    await replaceFile(file, `${JSON.stringify({ imageLayoutVersion: layoutVersion })}\n`);
  }
}

/** The digest that a file name in blobs/ or ingest/ stands for, or undefined for anything else. */
export function digestOfName(algorithm: string, hex: string): Digest | undefined {
  const text = `${algorithm}:${hex}`;
  return isDigest(text) ? text : undefined;
}

/** Puts a file in the place of another at once and durably: readers see the one or the other. */
export async function replaceFile(file: string, text: string): Promise<void> {
  const temporary = path.join(path.dirname(file), `${temporaryPrefix}${randomUUID()}`);
  try {
    const handle = await open(temporary, 'wx', 0o600);
    try {
      await handle.writeFile(text);
      await handle.datasync();
    } finally {
      await handle.close();
    }
    await rename(temporary, file);
  } catch (error) {
    await rm(temporary, { force: true });
    throw error;
  }
  await syncFolder(path.dirname(file));
}
