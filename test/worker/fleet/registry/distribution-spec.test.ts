/**
 * What the OCI distribution specification 1.1 has for clients that pull, by its sections and the numbers of its endpoints
 * and error codes: what a client asks, and what it makes of each answer that the specification lets a registry give.
 */
import assert from 'node:assert/strict';
import { mkdtempDisposable } from 'node:fs/promises';
import type { RequestListener } from 'node:http';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { describe, type TestContext, test } from 'node:test';
import { openFolderStore } from '../../../../shared/content/folder/store.ts';
import { DrayError } from '../../../../shared/errors.ts';
import { mediaTypes } from '../../../../shared/image/descriptor.ts';
import { digestOf } from '../../../../shared/image/digest.ts';
import { parseIndexOrManifest } from '../../../../shared/image/manifest.ts';
import type { Reference } from '../../../../shared/image/reference.ts';
import type { RegistryClient } from '../../../../worker/fleet/registry/client.ts';
import { fetchBlob } from '../../../../worker/fleet/registry/fetch.ts';
import { listReferrers } from '../../../../worker/fleet/registry/referrers.ts';
import {
  type HostileRegistry,
  type SeenRequest,
  startHostileRegistry,
} from '../../../support/hostile-registry.ts';
import { createClient, descriptorOf, MemorySink } from './support.ts';

const { signal } = new AbortController();
const manifest = Buffer.from(JSON.stringify({ schemaVersion: 2, layers: [] }));
const digest = digestOf(manifest);
const manifestType = { 'content-type': mediaTypes.ociManifest };
const blob = Buffer.from('the bytes of a blob');
const blobDigest = digestOf(blob);
const sha512 = digestOf(manifest, 'sha512');
const emptyIndex = { schemaVersion: 2, mediaType: mediaTypes.ociIndex, manifests: [] };

/** The sections that speak of pulling, with the endpoints that they are about. */
const sections = {
  'Legacy Docker support HTTP headers': 'end-2, end-3',
  'Pulling manifests': 'end-3',
  'Pulling blobs': 'end-2',
  'Checking if content exists in the registry': 'end-2, end-3',
  'Listing Referrers': 'end-12a',
  'Referrers Tag Schema': 'end-12a, end-3',
  'Error Codes': 'end-3',
} as const;
type Section = keyof typeof sections;

interface Case {
  /** Its title in the specification. */
  section: Section;
  says: string;
  /** Answers by path under `/v2/a/b/`. */
  answers: Record<string, RequestListener>;
  ask: (client: RegistryClient, reference: Reference) => Promise<unknown>;
  /** What comes of it, or the code of the error. */
  gets: unknown;
  /** The requests that it took. */
  requests?: string[];
  check?: (seen: SeenRequest[]) => void;
}

const answer =
  (
    status: number,
    headers: Record<string, string> = {},
    body: Uint8Array | string = '',
  ): RequestListener =>
  (request, response) => {
    const length = { 'content-length': Buffer.byteLength(body) };
    response.writeHead(status, { ...length, ...headers });
    response.end(request.method === 'HEAD' ? undefined : body);
  };
const failing = (status: number, code: string) =>
  answer(
    status,
    { 'content-type': 'application/json' },
    JSON.stringify({
      errors: [{ code, message: `the words of ${code}`, detail: { any: 'thing' } }],
    }),
  );
const read = async (client: RegistryClient, reference: Reference, offset = 0) => {
  const sink = new MemorySink();
  if (offset > 0) await sink.write(blob.subarray(0, offset));
  await fetchBlob(client, reference, descriptorOf(blob), sink, { signal });
  return sink.bytes.toString();
};
const resolve = async (client: RegistryClient, reference: Reference) =>
  (await client.resolve(reference)).descriptor;
const described = { mediaType: mediaTypes.ociManifest, digest, size: manifest.length };

const cases: Case[] = [
  {
    section: 'Pulling manifests',
    says: 'GET by tag, with the types that the client takes; the answer says which one it is',
    answers: { 'manifests/v1': answer(200, manifestType, manifest) },
    ask: (client, reference) => resolve(client, { ...reference, tag: 'v1' }),
    gets: described,
    requests: ['GET /v2/a/b/manifests/v1'],
    check: ([request]) => {
      for (const type of [mediaTypes.ociManifest, mediaTypes.ociIndex, mediaTypes.dockerManifest]) {
        assert.ok(request?.headers.accept?.includes(type), type);
      }
    },
  },
  {
    section: 'Pulling manifests',
    says: 'GET by digest: the bytes are verified against it',
    answers: { [`manifests/${digest}`]: answer(200, manifestType, manifest) },
    ask: (client, reference) => resolve(client, { ...reference, digest }),
    gets: described,
    requests: [`GET /v2/a/b/manifests/${digest}`],
  },
  {
    section: 'Pulling manifests',
    says: 'GET by digest: other bytes are refused, whatever Docker-Content-Digest says',
    answers: {
      [`manifests/${digest}`]: answer(
        200,
        { ...manifestType, 'docker-content-digest': digest },
        '{"schemaVersion":2}',
      ),
    },
    ask: (client, reference) => resolve(client, { ...reference, digest }),
    gets: 'DIGEST_MISMATCH',
  },
  {
    section: 'Pulling manifests',
    says: 'Docker-Content-Digest of another algorithm is verified, too',
    answers: {
      'manifests/v1': answer(200, { ...manifestType, 'docker-content-digest': sha512 }, manifest),
    },
    ask: (client, reference) => resolve(client, { ...reference, tag: 'v1' }),
    gets: described,
  },
  {
    section: 'Pulling manifests',
    says: 'Docker-Content-Digest of other bytes is refused, whatever its algorithm',
    answers: {
      'manifests/v1': answer(
        200,
        { ...manifestType, 'docker-content-digest': digestOf(blob, 'sha512') },
        manifest,
      ),
    },
    ask: (client, reference) => resolve(client, { ...reference, tag: 'v1' }),
    gets: 'DIGEST_MISMATCH',
  },
  {
    section: 'Pulling manifests',
    says: 'parameters of Content-Type are ignored',
    answers: {
      'manifests/v1': answer(
        200,
        { 'content-type': `${mediaTypes.ociManifest}; charset=utf-8` },
        manifest,
      ),
    },
    ask: (client, reference) => resolve(client, { ...reference, tag: 'v1' }),
    gets: described,
  },
  {
    section: 'Pulling manifests',
    says: 'a manifest whose mediaType is not its Content-Type is refused',
    answers: {
      'manifests/v1': answer(
        200,
        manifestType,
        JSON.stringify({ schemaVersion: 2, mediaType: mediaTypes.ociIndex, manifests: [] }),
      ),
    },
    ask: async (client, reference) => {
      const found = await client.resolve({ ...reference, tag: 'v1' });
      return parseIndexOrManifest(found.bytes, found.descriptor.mediaType, 'a/b:v1');
    },
    gets: 'MANIFEST_INVALID',
  },
  {
    section: 'Pulling manifests',
    says: '404: it is not there',
    answers: { 'manifests/v1': answer(404) },
    ask: (client, reference) => resolve(client, { ...reference, tag: 'v1' }),
    gets: 'IMAGE_UNKNOWN',
    requests: ['GET /v2/a/b/manifests/v1'],
  },
  {
    section: 'Legacy Docker support HTTP headers',
    says: 'neither Docker-Content-Digest nor Docker-Distribution-API-Version is needed',
    answers: {
      'manifests/v1': answer(200, manifestType, manifest),
      [`blobs/${blobDigest}`]: answer(200, {}, blob),
    },
    ask: async (client, reference) => [
      await resolve(client, { ...reference, tag: 'v1' }),
      await read(client, reference),
    ],
    gets: [described, blob.toString()],
  },
  {
    section: 'Pulling blobs',
    says: 'GET by digest',
    answers: { [`blobs/${blobDigest}`]: answer(200, {}, blob) },
    ask: (client, reference) => read(client, reference),
    gets: blob.toString(),
    requests: [`GET /v2/a/b/blobs/${blobDigest}`],
  },
  {
    section: 'Pulling blobs',
    says: 'a redirect to where the blob is',
    answers: {
      [`blobs/${blobDigest}`]: answer(307, { location: '/v2/a/b/elsewhere?signature=x' }),
      elsewhere: answer(200, {}, blob),
    },
    ask: (client, reference) => read(client, reference),
    gets: blob.toString(),
    requests: [`GET /v2/a/b/blobs/${blobDigest}`, 'GET /v2/a/b/elsewhere?signature=x'],
  },
  {
    section: 'Pulling blobs',
    says: 'a range of it (RFC 9110)',
    answers: {
      [`blobs/${blobDigest}`]: answer(
        206,
        { 'content-range': `bytes 4-${blob.length - 1}/${blob.length}` },
        blob.subarray(4),
      ),
    },
    ask: (client, reference) => read(client, reference, 4),
    gets: blob.toString(),
    check: ([request]) => assert.equal(request?.headers.range, 'bytes=4-'),
  },
  {
    section: 'Pulling blobs',
    says: 'a registry without ranges sends the whole blob',
    answers: { [`blobs/${blobDigest}`]: answer(200, {}, blob) },
    ask: (client, reference) => read(client, reference, 4),
    gets: blob.toString(),
  },
  {
    section: 'Pulling blobs',
    says: 'other bytes than those of the digest are refused, whatever Docker-Content-Digest says',
    answers: {
      [`blobs/${blobDigest}`]: answer(
        200,
        { 'docker-content-digest': blobDigest },
        Buffer.from(blob).fill('x'),
      ),
    },
    ask: async (client, reference) => {
      await using folder = await mkdtempDisposable(path.join(tmpdir(), 'dray-spec-'));
      const store = await openFolderStore({ path: folder.path });
      await using ingest = await store.content.ingest(descriptorOf(blob), { signal });
      await fetchBlob(client, reference, descriptorOf(blob), ingest, { signal });
      await ingest.commit({ signal });
    },
    gets: 'DIGEST_MISMATCH',
  },
  {
    section: 'Pulling blobs',
    says: '404: it is not there',
    answers: { [`blobs/${blobDigest}`]: answer(404) },
    ask: (client, reference) => read(client, reference),
    gets: 'BLOB_UNKNOWN',
    requests: [`GET /v2/a/b/blobs/${blobDigest}`],
  },
  {
    section: 'Checking if content exists in the registry',
    says: 'HEAD of a manifest: Content-Length, Content-Type and Docker-Content-Digest',
    answers: {
      'manifests/v1': answer(200, { ...manifestType, 'docker-content-digest': digest }, manifest),
    },
    ask: (client, reference) => client.head({ ...reference, tag: 'v1' }),
    gets: described,
    requests: ['HEAD /v2/a/b/manifests/v1'],
  },
  {
    section: 'Checking if content exists in the registry',
    says: 'HEAD of a manifest without Docker-Content-Digest: the manifest itself tells',
    answers: { 'manifests/v1': answer(200, manifestType, manifest) },
    ask: (client, reference) => client.head({ ...reference, tag: 'v1' }),
    gets: described,
    requests: ['HEAD /v2/a/b/manifests/v1', 'GET /v2/a/b/manifests/v1'],
  },
  {
    section: 'Checking if content exists in the registry',
    says: 'HEAD of a manifest by digest: Docker-Content-Digest of another algorithm is no other manifest',
    answers: {
      [`manifests/${digest}`]: answer(
        200,
        { ...manifestType, 'docker-content-digest': sha512 },
        manifest,
      ),
    },
    ask: (client, reference) => client.head({ ...reference, digest }),
    gets: described,
    requests: [`HEAD /v2/a/b/manifests/${digest}`],
  },
  {
    section: 'Checking if content exists in the registry',
    says: 'HEAD of a manifest by digest: another digest of its algorithm is refused',
    answers: {
      [`manifests/${digest}`]: answer(
        200,
        { ...manifestType, 'docker-content-digest': blobDigest },
        manifest,
      ),
    },
    ask: (client, reference) => client.head({ ...reference, digest }),
    gets: 'DIGEST_MISMATCH',
  },
  {
    section: 'Checking if content exists in the registry',
    says: 'HEAD of a blob: Content-Length',
    answers: { [`blobs/${blobDigest}`]: answer(200, {}, blob) },
    ask: (client, reference) => client.describe(reference, blobDigest),
    gets: { mediaType: 'application/octet-stream', digest: blobDigest, size: blob.length },
    requests: [`HEAD /v2/a/b/blobs/${blobDigest}`],
  },
  {
    section: 'Checking if content exists in the registry',
    says: 'HEAD answered with 404: it is not there',
    answers: {},
    ask: (client, reference) => client.head({ ...reference, tag: 'v1' }),
    gets: undefined,
    requests: ['HEAD /v2/a/b/manifests/v1'],
  },
  {
    section: 'Listing Referrers',
    says: 'GET: an index of descriptors',
    answers: {
      [`referrers/${digest}`]: answer(
        200,
        { 'content-type': mediaTypes.ociIndex },
        JSON.stringify({ ...emptyIndex, manifests: [{ ...described, artifactType: 'a/b' }] }),
      ),
    },
    ask: async (client, reference) =>
      (await listReferrers(client, { ...reference, digest }, digest)).map((each) => each.digest),
    gets: [digest],
    requests: [`GET /v2/a/b/referrers/${digest}`],
  },
  {
    section: 'Listing Referrers',
    says: 'an empty list where nothing refers to it',
    answers: {
      [`referrers/${digest}`]: answer(
        200,
        { 'content-type': mediaTypes.ociIndex },
        JSON.stringify(emptyIndex),
      ),
    },
    ask: (client, reference) => listReferrers(client, { ...reference, digest }, digest),
    gets: [],
    requests: [`GET /v2/a/b/referrers/${digest}`],
  },
  {
    section: 'Listing Referrers',
    says: 'pages, by the Link header',
    answers: {
      [`referrers/${digest}`]: (request, response) => {
        const more = (request.url ?? '').includes('page=2')
          ? {}
          : { link: `</v2/a/b/referrers/${digest}?page=2>; rel="next"` };
        const { length } = (request.url ?? '').split('?');
        const manifests = [{ ...described, size: length }];
        response.writeHead(200, { 'content-type': mediaTypes.ociIndex, ...more });
        response.end(JSON.stringify({ ...emptyIndex, manifests }));
      },
    },
    ask: async (client, reference) =>
      (await listReferrers(client, { ...reference, digest }, digest)).map((each) => each.size),
    gets: [1, 2],
    requests: [`GET /v2/a/b/referrers/${digest}`, `GET /v2/a/b/referrers/${digest}?page=2`],
  },
  {
    section: 'Listing Referrers',
    says: '400 of a registry that does not take the digest is no empty list',
    answers: { [`referrers/${digest}`]: failing(400, 'DIGEST_INVALID') },
    ask: (client, reference) => listReferrers(client, { ...reference, digest }, digest),
    gets: 'REGISTRY_PROTOCOL',
    requests: [`GET /v2/a/b/referrers/${digest}`],
  },
  {
    section: 'Referrers Tag Schema',
    says: 'after 404, the tag that is made of the digest; none of that either is an empty list',
    answers: {},
    ask: (client, reference) => listReferrers(client, { ...reference, digest }, digest),
    gets: [],
    requests: [
      `GET /v2/a/b/referrers/${digest}`,
      `GET /v2/a/b/manifests/${digest.replace(':', '-')}`,
    ],
  },
  {
    section: 'Referrers Tag Schema',
    says: 'of the encoded part of a digest, the first 64 characters',
    answers: {
      [`manifests/sha512-${sha512.slice('sha512:'.length).slice(0, 64)}`]: answer(
        200,
        { 'content-type': mediaTypes.ociIndex },
        JSON.stringify({ ...emptyIndex, manifests: [described] }),
      ),
    },
    ask: async (client, reference) =>
      (await listReferrers(client, { ...reference, digest: sha512 }, sha512)).length,
    gets: 1,
  },
  ...[
    { what: 'an image', type: mediaTypes.ociManifest, body: manifest },
    { what: 'no index at all', type: mediaTypes.ociIndex, body: '<html>' },
    { what: 'of another type', type: 'text/html', body: '<html>' },
  ].map(
    ({ what, type, body }): Case => ({
      section: 'Referrers Tag Schema',
      says: `a tag that is ${what} means that there are none`,
      answers: {
        [`manifests/${digest.replace(':', '-')}`]: answer(200, { 'content-type': type }, body),
      },
      ask: (client, reference) => listReferrers(client, { ...reference, digest }, digest),
      gets: [],
    }),
  ),
  ...(
    [
      ['code-7', 404, 'MANIFEST_UNKNOWN', 'IMAGE_UNKNOWN'],
      ['code-8', 400, 'NAME_INVALID', 'REGISTRY_PROTOCOL'],
      ['code-9', 404, 'NAME_UNKNOWN', 'IMAGE_UNKNOWN'],
      ['code-11', 401, 'UNAUTHORIZED', 'UNAUTHORIZED'],
      ['code-12', 403, 'DENIED', 'DENIED'],
      ['code-13', 405, 'UNSUPPORTED', 'REGISTRY_PROTOCOL'],
      ['code-14', 429, 'TOOMANYREQUESTS', 'RATE_LIMITED'],
      ['none of its', 503, 'A_CODE_OF_LATER', 'REGISTRY_UNAVAILABLE'],
    ] as const
  ).map(
    ([number, status, code, gets]): Case => ({
      section: 'Error Codes',
      says: `${number}, ${status} ${code}, is ${gets}, in the registry's words`,
      answers: { 'manifests/v1': failing(status, code) },
      ask: async (client, reference) => {
        await assert.rejects(client.resolve({ ...reference, tag: 'v1' }), {
          message: new RegExp(`${code}: the words of ${code} \\(HTTP status ${status}\\)`),
        });
        return await client.resolve({ ...reference, tag: 'v1' });
      },
      gets,
    }),
  ),
  {
    section: 'Error Codes',
    says: 'code-1, 404 BLOB_UNKNOWN',
    answers: { [`blobs/${blobDigest}`]: failing(404, 'BLOB_UNKNOWN') },
    ask: (client, reference) => read(client, reference),
    gets: 'BLOB_UNKNOWN',
    requests: [`GET /v2/a/b/blobs/${blobDigest}`],
  },
  ...[
    { what: 'in any format', type: 'text/html', body: '<h1>No</h1>', words: 'HTTP status 403' },
    {
      what: 'without message and detail',
      type: 'application/json',
      body: '{"errors":[{"code":"DENIED"},{"code":"UNSUPPORTED"}]}',
      words: 'DENIED \\(HTTP status 403\\)',
    },
    {
      what: 'with a message that is empty, and a detail of any shape',
      type: 'application/json',
      body: '{"errors":[{"code":"DENIED","message":"","detail":[{"Action":"pull"}]}]}',
      words: 'DENIED \\(HTTP status 403\\)',
    },
  ].map(
    ({ what, type, body, words }): Case => ({
      section: 'Error Codes',
      says: `a body ${what} is no trouble: the status says what is wrong`,
      answers: { 'manifests/v1': answer(403, { 'content-type': type }, body) },
      ask: async (client, reference) => {
        const asked = client.resolve({ ...reference, tag: 'v1' });
        await assert.rejects(asked, { message: new RegExp(words) });
        return await asked;
      },
      gets: 'DENIED',
    }),
  ),
];

async function start(t: TestContext): Promise<HostileRegistry> {
  const registry = await startHostileRegistry();
  t.after(() => registry.stop());
  return registry;
}

describe('OCI distribution-spec 1.1, pull', () => {
  for (const { section, says, answers, ask, gets, requests, check } of cases) {
    test(`${section} (${sections[section]}): ${says}`, async (t) => {
      const registry = await start(t);
      for (const [path, handler] of Object.entries(answers)) {
        registry.on(`/v2/a/b/${path}`, handler);
      }
      const client = createClient(t);
      const reference = { registry: registry.host, repository: 'a/b' };
      const found = await ask(client, reference).catch((error: unknown) => {
        if (error instanceof DrayError) return error.code;
        throw error;
      });
      assert.deepEqual(found, gets);
      const seen = registry.requests.map(({ method, path }) => `${method} ${path}`);
      if (requests !== undefined) assert.deepEqual(seen, requests);
      check?.(registry.requests);
    });
  }

  test('Determining Support (end-1): /v2/ answers 200, or 401 to a login', async (t) => {
    const registry = await start(t);
    const basic = `Basic ${Buffer.from('u:p').toString('base64')}`;
    registry.on('/v2/', (request, response) => {
      const isIn = request.headers.authorization === basic;
      response.writeHead(isIn ? 200 : 401, { 'www-authenticate': 'Basic realm="x"' }).end();
    });
    const login = (password: string) =>
      createClient(t, { credentials: async () => ({ username: 'u', password }) });
    assert.equal(await login('p').checkLogin(registry.host), true);
    await assert.rejects(login('wrong').checkLogin(registry.host), { code: 'UNAUTHORIZED' });
    registry.on('/v2/', answer(200));
    assert.equal(await login('p').checkLogin(registry.host), false);
  });

  test('Warnings: those of code 299 and agent "-" are told, and change nothing', async (t) => {
    const registry = await start(t);
    const told: string[] = [];
    const client = createClient(t, { warned: (host, text) => told.push(`${host}: ${text}`) });
    const resolved = async (warning: string | string[]) => {
      told.length = 0;
      registry.on('/v2/a/b/manifests/v1', (_request, response) => {
        response.setHeader('warning', warning);
        response.writeHead(200, manifestType).end(manifest);
      });
      const reference = { registry: registry.host, repository: 'a/b', tag: 'v1' };
      assert.deepEqual((await client.resolve(reference)).descriptor, described);
      return told.map((line) => line.replace(`${registry.host}: `, ''));
    };
    assert.deepEqual(await resolved('299 - "Your token ends, \\"soon\\"."'), [
      'Your token ends, "soon".',
    ]);
    assert.deepEqual(await resolved(['299 - "one"', '299 - "two"']), ['one', 'two']);
    assert.deepEqual(await resolved('110 - "stale", 299 cache.example "no", 299 - x'), []);
    assert.deepEqual(await resolved('299 - "dated" "Sat, 28 Nov 2026 17:00:00 GMT"'), []);
    assert.deepEqual(await resolved('299 - "a\t\u0085b"'), ['a b']);
    assert.deepEqual(await resolved(`299 - "${'x'.repeat(5_000)}"`), []);
  });
});
