import { readVerified } from '../../shared/content/blob.ts';
import { DrayError } from '../../shared/errors.ts';
import type { Descriptor } from '../../shared/image/descriptor.ts';
import { maxManifestBytes, parseIndexOrManifest } from '../../shared/image/manifest.ts';
import { formatReference, parseReference } from '../../shared/image/reference.ts';
import type { PullStatus, Want } from '../../shared/pull/status.ts';
import { findImages } from '../image-names.ts';
import { isShortDigest } from '../short-digest.ts';
import type { Context } from './context.ts';
import { formatBytes, type ListOptions, type OutputForm, printList, printValue } from './output.ts';
import { pinnedReference, pullImage } from './pull.ts';

export interface DocumentOptions {
  platform?: string;
  credential?: string;
}

/** `dray resolve` */
export async function printResolved(
  context: Context,
  reference: string,
  options: DocumentOptions & { output: OutputForm },
): Promise<void> {
  const status = await ask(context, reference, 'manifest', { platform: 'all', ...options });
  printValue(targetOf(status), options.output, () => `${pinnedReference(status)}\n`);
}

/** `dray manifest`: the bytes as they are in the registry, of the index too where no platform is asked for. */
export async function printManifest(
  context: Context,
  reference: string,
  options: DocumentOptions,
): Promise<void> {
  const status = await ask(context, reference, 'manifest', { platform: 'all', ...options });
  const wanted =
    options.platform === undefined ? targetOf(status) : (status.manifest ?? targetOf(status));
  await printBlob(context, wanted);
}

/** `dray config`: the image's configuration, as it is in the registry. */
export async function printConfig(
  context: Context,
  reference: string,
  options: DocumentOptions,
): Promise<void> {
  const status = await ask(context, reference, 'manifest', options);
  const config = status.blobs.find(({ kind }) => kind === 'config')?.descriptor;
  if (config === undefined) throw new DrayError('NOT_FOUND', `${reference} has no configuration`);
  await printBlob(context, config);
}

/** `dray referrers` */
export async function printReferrers(
  context: Context,
  reference: string,
  options: DocumentOptions & ListOptions & { artifactType?: string },
): Promise<void> {
  const target = targetOf(await ask(context, reference, 'referrers', options));
  await using store = await context.openStore();
  const bytes = await readVerified(store.content, target, { maxBytes: maxManifestBytes });
  const parsed = parseIndexOrManifest(bytes, target.mediaType, reference);
  const found = 'index' in parsed ? parsed.index.manifests : [];
  const { artifactType } = options;
  const rows = found.filter((each) => artifactType === undefined || typeOf(each) === artifactType);
  printList(rows, options, {
    headings: ['DIGEST', 'ARTIFACT TYPE', 'SIZE'],
    row: (each) => [each.digest, typeOf(each), formatBytes(each.size)],
    name: ({ digest }) => digest,
  });
}

async function ask(
  context: Context,
  text: string,
  want: Want,
  { platform, credential }: DocumentOptions,
): Promise<PullStatus> {
  const reference = await askedReference(context, text);
  return await pullImage(context, {
    ...{ reference, want, nodes: [], progress: 'none' },
    ...(platform === undefined ? {} : { platform }),
    ...(credential === undefined ? {} : { credential }),
  });
}

/** A digest, or its first digits, is that of an image that is there: its repository is asked. */
async function askedReference(context: Context, text: string): Promise<string> {
  if (!isShortDigest(text)) return text;
  await using store = await context.openStore();
  const [found] = await findImages(store.images, text);
  if (found?.digest === undefined) return text;
  const { name, origin = name } = found.image;
  const { registry, repository } = parseReference(origin);
  return formatReference({ registry, repository, digest: found.digest });
}

function targetOf({ target, reference }: PullStatus): Descriptor {
  if (target === undefined) throw new DrayError('INTERNAL', `${reference} was not resolved`);
  return target;
}

async function printBlob(context: Context, descriptor: Descriptor): Promise<void> {
  await using store = await context.openStore();
  const limits = { maxBytes: 4 * maxManifestBytes };
  const bytes = await readVerified(store.content, descriptor, limits);
  process.stdout.write(bytes);
  // The prompt follows on a line of its own; programs get the bytes alone, which have the digest.
  if (process.stdout.isTTY && bytes.at(-1) !== 0x0a) process.stdout.write('\n');
}

function typeOf(descriptor: Descriptor): string {
  return (descriptor as { artifactType?: string }).artifactType ?? descriptor.mediaType;
}
