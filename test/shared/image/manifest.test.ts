import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { mediaTypes } from '../../../shared/image/descriptor.ts';
import { digestOf } from '../../../shared/image/digest.ts';
import {
  maxManifestBytes,
  parseIndexOrManifest,
  parseManifest,
  selectPlatform,
} from '../../../shared/image/manifest.ts';
import { parsePlatform } from '../../../shared/image/platform.ts';

const digest = digestOf('x');
const config = { mediaType: mediaTypes.ociConfig, digest, size: 1 };
const layer = { mediaType: 'application/vnd.oci.image.layer.v1.tar', digest, size: 1 };
const manifest = {
  ...{ schemaVersion: 2, mediaType: mediaTypes.ociManifest, config, layers: [layer] },
};
const parse = (document: unknown, mediaType: string = mediaTypes.ociManifest) =>
  parseIndexOrManifest(
    Buffer.from(typeof document === 'string' ? document : JSON.stringify(document)),
    mediaType,
    'the image',
  );

describe('manifests and indexes', () => {
  test('a manifest, and an index of it', () => {
    assert.deepEqual(parse(manifest), {
      manifest: { mediaType: mediaTypes.ociManifest, config, layers: [layer] },
    });
    const target = { mediaType: mediaTypes.ociManifest, digest, size: 3 };
    const index = { schemaVersion: 2, manifests: [target] };
    assert.deepEqual(parse(index, mediaTypes.ociIndex), {
      index: { mediaType: mediaTypes.ociIndex, manifests: [target] },
    });
  });

  test('34. no layers: accepted', () => {
    assert.ok('manifest' in parse({ ...manifest, layers: [] }));
  });

  test('31. sha512 digests: accepted', () => {
    const layers = [{ ...layer, digest: digestOf('x', 'sha512') }];
    assert.ok('manifest' in parse({ ...manifest, layers }));
  });

  test('36. an embedded data field that lies: ignored', () => {
    const layers = [{ ...layer, data: 'bGll' }];
    assert.deepEqual(parse({ ...manifest, layers }), parse(manifest));
  });

  const invalid: [why: string, document: unknown, mediaType?: string][] = [
    ['24. a Content-Type that differs from the mediaType', manifest, mediaTypes.dockerManifest],
    ['25. both layers and manifests', { ...manifest, manifests: [] }],
    ['30. a negative size', { ...manifest, config: { ...config, size: -1 } }],
    [
      '30. a size beyond 2^53',
      JSON.stringify(manifest).replace('"size":1', '"size":9007199254740993'),
    ],
    ['30. a size that is no integer', { ...manifest, config: { ...config, size: 1.5 } }],
    ['32. an unknown digest', { ...manifest, config: { ...config, digest: 'md5:00' } }],
    ['38. malformed JSON', '{"schemaVersion":2,'],
    ['38. very deep JSON', `${'['.repeat(100_000)}${']'.repeat(100_000)}`],
    ['38. JSON that is no object', '[]'],
    ['bytes that are no UTF-8', '\udc00'.padEnd(3)],
    ['22. more than the limit', ' '.repeat(maxManifestBytes + 1)],
  ];
  for (const [why, document, mediaType] of invalid) {
    test(`${why}: MANIFEST_INVALID`, () => {
      assert.throws(() => parse(document, mediaType), { code: 'MANIFEST_INVALID' });
    });
  }

  test('29. Docker schema 1: a message that says so', () => {
    assert.throws(() => parse({ schemaVersion: 1 }), {
      ...{ code: 'MANIFEST_UNSUPPORTED', message: /schema 1/ },
    });
  });

  test('an index where a manifest is needed', () => {
    const bytes = Buffer.from('{"schemaVersion":2,"manifests":[]}');
    assert.throws(() => parseManifest(bytes, mediaTypes.ociIndex, 'x'), { message: /an index/ });
  });
});

describe('selectPlatform', () => {
  const of = (text: string) => {
    const platform = parsePlatform(text);
    return { mediaType: mediaTypes.ociManifest, digest: digestOf(text), size: 1, platform };
  };
  const index = (...manifests: ReturnType<typeof of>[]) => ({
    ...{ mediaType: mediaTypes.ociIndex, manifests },
  });

  test('the best fallback wins over the order', () => {
    const found = selectPlatform(
      index(of('linux/arm/v5'), of('linux/arm/v6')),
      parsePlatform('linux/arm/v7'),
      'x',
    );
    assert.equal(found.digest, digestOf('linux/arm/v6'));
  });

  test('27. the platform is missing: the list of those that there are, without attestations', () => {
    const attestation = { ...of('unknown/unknown') };
    assert.throws(
      () =>
        selectPlatform(index(of('linux/arm64'), attestation), parsePlatform('linux/amd64'), 'x'),
      { code: 'PLATFORM_UNKNOWN', hint: /linux\/arm64\./ },
    );
  });
});
