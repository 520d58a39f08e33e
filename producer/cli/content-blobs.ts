import { createHash } from 'node:crypto';
import { createReadStream, createWriteStream } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { pipeline } from 'node:stream/promises';
import type { ContentStore } from '../../shared/content/store.ts';
import { DrayError } from '../../shared/errors.ts';
import { type Digest, parseDigest } from '../../shared/image/digest.ts';
import { expandDigest, isShortDigest } from '../short-digest.ts';
import type { Context } from './context.ts';
import { exitCodes } from './errors.ts';
import { writeOut } from './foreground.ts';
import { Interrupt } from './interrupt.ts';
import { formatAge, formatBytes, formatBytesOf, type ListOptions, printList } from './output.ts';

/** `dray content ls` */
export async function listContent(context: Context, options: ListOptions): Promise<void> {
  await using store = await context.openStore();
  const blobs = await Array.fromAsync(store.content.list());
  const now = new Date();
  printList(
    blobs.toSorted((a, b) => b.createdAt.getTime() - a.createdAt.getTime()),
    options,
    {
      headings: ['DIGEST', 'SIZE', 'CREATED'],
      row: ({ digest, size, createdAt }) => [digest, formatBytes(size), formatAge(createdAt, now)],
      name: ({ digest }) => digest,
    },
  );
}

/** `dray active` */
export async function listIngests(context: Context, options: ListOptions): Promise<void> {
  await using store = await context.openStore();
  const ingests = await Array.fromAsync(store.content.ingests());
  const now = new Date();
  printList(ingests, options, {
    headings: ['DIGEST', 'STORED', 'DONE', 'UPDATED'],
    row: ({ digest, offset, size, updatedAt }) => [
      digest,
      formatBytesOf(offset, size),
      size === 0 ? '-' : `${Math.floor((offset / size) * 100)}%`,
      formatAge(updatedAt, now),
    ],
    name: ({ digest }) => digest,
  });
}

/** `dray content get` */
export async function getContent(context: Context, text: string): Promise<void> {
  await using store = await context.openStore();
  const digest = await blobOf(text, store.content);
  for await (const chunk of store.content.read(digest)) {
    if (await writeOut(process.stdout, chunk)) continue;
    process.exitCode = exitCodes.brokenPipe;
    return;
  }
}

/** `dray content rm` */
export async function removeContent(context: Context, texts: readonly string[]): Promise<void> {
  await using store = await context.openStore();
  const digests: Digest[] = [];
  for (const text of texts) digests.push(await blobOf(text, store.content));
  const missing: Digest[] = [];
  for (const digest of digests) {
    if ((await store.content.info(digest)) === undefined) {
      missing.push(digest);
      continue;
    }
    await store.content.remove(digest);
    process.stdout.write(`${digest}\n`);
  }
  if (missing.length > 0) throw blobsUnknown(missing);
}

/** `dray content verify` @throws DIGEST_MISMATCH when a blob is wrong, NOT_FOUND */
export async function verifyContent(
  context: Context,
  texts: readonly string[],
  { dryRun = false }: { dryRun?: boolean },
): Promise<void> {
  using interrupt = new Interrupt();
  const { signal } = interrupt;
  await using store = await context.openStore({ signal });
  const named: Digest[] = [];
  for (const text of texts) named.push(await blobOf(text, store.content, { signal }));
  const wrong: Digest[] = [];
  const missing: Digest[] = [];
  const verify = async (digest: Digest) => {
    const verdict = await store.content.verify(digest, { signal, readOnly: dryRun });
    process.stdout.write(`${digest}   ${verdict}\n`);
    if (verdict === 'wrong') wrong.push(digest);
    // One that was removed since it was listed is none that somebody asked for.
    if (verdict === 'missing' && named.length > 0) missing.push(digest);
  };
  if (named.length > 0) for (const digest of named) await verify(digest);
  else for await (const { digest } of store.content.list({ signal })) await verify(digest);
  if (wrong.length > 0) {
    throw new DrayError('DIGEST_MISMATCH', `${wrong.length} blobs are wrong: ${wrong.join(', ')}`, {
      hint: dryRun
        ? 'Without --dry-run they are set aside, and the next pull that needs one fetches it again.'
        : 'They were set aside. Pull the images that need them again: dray pull REF',
    });
  }
  if (missing.length > 0) throw blobsUnknown(missing);
}

/** A blob by its digest, or the beginning of that. @throws DIGEST_INVALID, NOT_FOUND, USAGE */
async function blobOf(
  text: string,
  content: ContentStore,
  options: { signal?: AbortSignal } = {},
): Promise<Digest> {
  if (!isShortDigest(text)) return parseDigest(text);
  const digests = async function* () {
    for await (const { digest } of content.list(options)) yield digest;
  };
  const digest = await expandDigest(text, digests());
  if (digest === undefined) throw blobsUnknown([text]);
  return digest;
}

function blobsUnknown(missing: readonly string[]): DrayError {
  return new DrayError('NOT_FOUND', `The content store has no blob ${missing.join(', ')}`, {
    hint: 'dray content ls lists those that it has.',
  });
}

/** `dray content ingest` */
export async function ingestContent(
  context: Context,
  options: { expectedDigest?: string; expectedSize?: number },
): Promise<void> {
  const { expectedDigest, expectedSize } = options;
  const digest = expectedDigest === undefined ? undefined : parseDigest(expectedDigest);
  if (process.stdin.isTTY) {
    throw new DrayError('USAGE', 'The blob is read from standard input, which is a terminal here', {
      hint: 'dray content ingest < FILE',
    });
  }
  using interrupt = new Interrupt();
  const { signal } = interrupt;
  await using store = await context.openStore({ signal });
  const source: AsyncIterable<Buffer> = process.stdin;
  const stored =
    digest !== undefined && expectedSize !== undefined
      ? await ingest(store.content, { digest, size: expectedSize }, source, signal)
      : await ingestUnknown(store.content, { digest, size: expectedSize }, source, signal);
  process.stdout.write(`${stored}\n`);
}

async function ingest(
  content: ContentStore,
  blob: { digest: Digest; size: number },
  source: AsyncIterable<Uint8Array>,
  signal: AbortSignal,
): Promise<Digest> {
  const descriptor = { mediaType: 'application/octet-stream', ...blob };
  await using writing = await content.ingest(descriptor, { signal });
  // What an earlier writer left is not what comes from here.
  if (writing.offset > 0) await writing.reset({ signal });
  for await (const chunk of source) {
    signal.throwIfAborted();
    await writing.write(chunk);
  }
  await writing.commit({ signal });
  return descriptor.digest;
}

/** A store takes a blob by digest and size: what comes without them is put into a file first. */
async function ingestUnknown(
  content: ContentStore,
  expected: { digest: Digest | undefined; size: number | undefined },
  source: AsyncIterable<Uint8Array>,
  signal: AbortSignal,
): Promise<Digest> {
  const folder = await mkdtemp(path.join(tmpdir(), 'dray-ingest-'));
  try {
    const file = path.join(folder, 'blob');
    const hasher = createHash('sha256');
    let size = 0;
    const counted = async function* (chunks: AsyncIterable<Uint8Array>) {
      for await (const chunk of chunks) {
        hasher.update(chunk);
        size += chunk.length;
        yield chunk;
      }
    };
    await pipeline(source, counted, createWriteStream(file), { signal });
    if (expected.size !== undefined && expected.size !== size) {
      throw new DrayError(
        'SIZE_MISMATCH',
        `Standard input had ${size} bytes, not ${expected.size}`,
        { hint: 'Nothing was added. Check where the bytes come from.' },
      );
    }
    // The store verifies an expected digest, of whatever algorithm.
    const digest = expected.digest ?? parseDigest(`sha256:${hasher.digest('hex')}`);
    return await ingest(content, { digest, size }, createReadStream(file), signal);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
