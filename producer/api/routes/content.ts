import { Readable } from 'node:stream';
import { z } from 'zod';
import type { ContentInfo, Store } from '../../../shared/content/store.ts';
import { DrayError } from '../../../shared/errors.ts';
import { type Digest, isDigest } from '../../../shared/image/digest.ts';
import { cutPage, pageOf } from '../paging.ts';
import { type Route, route } from '../route.ts';
import { blobInfo, blobList, ingestList } from '../schemas/content.ts';
import type { ApiServices } from '../services.ts';

const digest = z.string().refine(isDigest, 'not a digest, as in sha256:…');
const page = pageOf(digest, { most: 1000, usual: 100 });
const byDigest = z.strictObject({ digest });

/** The blobs of the content store: list, look at, read, remove; and those on their way into it. */
export function contentRoutes({ store }: Pick<ApiServices, 'store'>): Route[] {
  const { content } = store;
  return [
    route({
      id: 'listContent',
      method: 'GET',
      path: '/v1/content',
      summary: 'List the blobs of the content store',
      scope: 'read',
      asksStore: true,
      query: page,
      answer: { status: 200, description: 'One page, by digest', schema: blobList },
      async handle({ query: { limit, cursor }, signal }) {
        const found: ContentInfo[] = [];
        for await (const info of content.list({ signal })) {
          if (cursor === undefined || info.digest > cursor) found.push(info);
        }
        found.sort((a, b) => (a.digest < b.digest ? -1 : 1));
        return cutPage(found, limit, (info) => info.digest);
      },
    }),
    route({
      id: 'listIngests',
      method: 'GET',
      path: '/v1/ingests',
      summary: 'List the transfers in flight, and what is left of broken ones',
      scope: 'read',
      asksStore: true,
      answer: { status: 200, description: 'All of them', schema: ingestList },
      handle: async ({ signal }) => ({ items: await Array.fromAsync(content.ingests({ signal })) }),
    }),
    route({
      id: 'getBlobInfo',
      method: 'GET',
      path: '/v1/content/{digest}',
      summary: 'Get what is known of a blob',
      scope: 'read',
      asksStore: true,
      params: byDigest,
      answer: { status: 200, description: 'Its size and age', schema: blobInfo },
      handle: ({ params, signal }) => known(store, params.digest as Digest, { signal }),
    }),
    route({
      id: 'getBlob',
      method: 'GET',
      path: '/v1/content/{digest}/bytes',
      summary: 'Read a blob',
      description: 'It was verified when it came into the store; whoever reads it can do so again.',
      scope: 'pull',
      asksStore: true,
      params: byDigest,
      answer: {
        status: 200,
        description: 'Its bytes',
        schema: z.string().meta({ format: 'binary' }),
        mediaType: 'application/octet-stream',
      },
      async handle({ params, reply, signal }) {
        const { digest: name, size } = await known(store, params.digest as Digest, { signal });
        void reply
          .header('content-length', size)
          .header('etag', `"${name}"`)
          .header('cache-control', 'private, max-age=31536000, immutable')
          // An HTML page in a layer must not become one of this site.
          .header('x-content-type-options', 'nosniff')
          .header('content-disposition', 'attachment')
          .type('application/octet-stream');
        return Readable.from(content.read(name, { signal }), { objectMode: false });
      },
    }),
    route({
      id: 'removeBlob',
      method: 'DELETE',
      path: '/v1/content/{digest}',
      summary: 'Remove a blob, whoever may need it',
      scope: 'admin',
      asksStore: true,
      params: byDigest,
      answer: { status: 204, description: 'It is gone' },
      async handle({ params, signal }) {
        const { digest: name } = await known(store, params.digest as Digest, { signal });
        await content.remove(name, { signal });
      },
    }),
  ];
}

async function known(
  { content }: Store,
  name: Digest,
  options: { signal: AbortSignal },
): Promise<ContentInfo> {
  const info = await content.info(name, options);
  if (info !== undefined) return info;
  throw new DrayError('NOT_FOUND', `The content store has no blob ${name}`, {
    hint: 'GET /v1/content lists those that it has.',
  });
}
