import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { Descriptor } from '../../../../shared/image/descriptor.ts';
import { mediaTypes } from '../../../../shared/image/descriptor.ts';
import { digestOf, splitDigest } from '../../../../shared/image/digest.ts';
import { parseReference } from '../../../../shared/image/reference.ts';
import { listReferrers, referrersIndex } from '../../../../worker/fleet/registry/referrers.ts';
import { startHostileRegistry } from '../../../support/hostile-registry.ts';
import { startRegistry } from '../../../support/registry.ts';
import { createClient } from './support.ts';

const subject = digestOf(Buffer.from('subject'));
const referrer = (n: number): Descriptor & { artifactType: string } => ({
  mediaType: mediaTypes.ociManifest,
  digest: digestOf(Buffer.from(`referrer ${n}`)),
  size: n,
  artifactType: 'application/example',
});

describe('referrers', () => {
  test('come by the API, over its pages', async (t) => {
    await using registry = await startHostileRegistry();
    registry.on(`/v2/a/b/referrers/${subject}`, (request, response) => {
      const isFirst = !request.url?.includes('?');
      response.writeHead(200, {
        'content-type': mediaTypes.ociIndex,
        ...(isFirst ? { link: `</v2/a/b/referrers/${subject}?last=1>; rel="next"` } : {}),
      });
      response.end(referrersIndex([referrer(isFirst ? 1 : 2)]));
    });
    const client = createClient(t);
    const found = await listReferrers(client, parseReference(`${registry.host}/a/b`), subject);
    assert.deepEqual(found, [referrer(1), referrer(2)]);
  });

  test('an endless list is refused', async (t) => {
    await using registry = await startHostileRegistry();
    registry.on(`/v2/a/b/referrers/${subject}`, (_request, response) => {
      response.writeHead(200, {
        'content-type': mediaTypes.ociIndex,
        link: '<?more=1>; rel="next"',
      });
      response.end(referrersIndex([referrer(1)]));
    });
    const client = createClient(t);
    await assert.rejects(listReferrers(client, parseReference(`${registry.host}/a/b`), subject), {
      code: 'MANIFEST_INVALID',
    });
  });

  test('come by their tag where docker-registry has no such API; none is no failure', async (t) => {
    await using registry = await startRegistry();
    const client = createClient(t);
    const reference = parseReference(`${registry.host}/c/d`);
    assert.deepEqual(await listReferrers(client, reference, subject), []);
    const { algorithm, hex } = splitDigest(subject);
    const config = await registry.putBlob('c/d', Buffer.from('{}'));
    const manifest = await registry.putManifest('c/d', 'artifact', {
      schemaVersion: 2,
      mediaType: mediaTypes.ociManifest,
      config: { ...config, mediaType: 'application/vnd.oci.empty.v1+json' },
      layers: [],
    });
    await registry.putManifest(
      'c/d',
      `${algorithm}-${hex}`,
      referrersIndex([manifest]),
      mediaTypes.ociIndex,
    );
    const found = await listReferrers(client, reference, subject);
    assert.deepEqual(
      found.map(({ digest }) => digest),
      [manifest.digest],
    );
  });
});
