import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { maxConfigBytes, parseImageConfig } from '../../../shared/image/config.ts';
import { mediaTypes } from '../../../shared/image/descriptor.ts';
import { digestOf } from '../../../shared/image/digest.ts';

const digest = digestOf('x');
const layer = { mediaType: 'application/vnd.oci.image.layer.v1.tar', digest, size: 1 };
const manifest = {
  mediaType: mediaTypes.ociManifest,
  config: { mediaType: mediaTypes.ociConfig, digest, size: 1 },
  layers: [layer],
};
const whole = {
  ...{ os: 'linux', architecture: 'amd64', config: { User: 'redis' } },
  rootfs: { type: 'layers', diff_ids: [digest] },
};
const parse = (document: unknown) =>
  parseImageConfig(
    Buffer.from(typeof document === 'string' ? document : JSON.stringify(document)),
    manifest,
    'the image',
  );

describe('image configurations', () => {
  test('what runs it', () => {
    assert.equal(parse(whole).config?.User, 'redis');
  });

  const rootfs = { type: 'layers', diff_ids: [] };
  const invalid: [why: string, document: unknown, message: RegExp][] = [
    ['79. fewer diff_ids than layers', { ...whole, rootfs }, /1 layers.*0 diffIDs/],
    [
      '79. more diff_ids than layers',
      { ...whole, rootfs: { ...rootfs, diff_ids: [digest, digest] } },
      /1 layers.*2 diffIDs/,
    ],
    [
      '32. a diffID that is no digest',
      { ...whole, rootfs: { ...rootfs, diff_ids: ['x'] } },
      /the image is not valid: rootfs\.diff_ids\.0: not a digest/,
    ],
    ['81. malformed JSON', '{"os":', /configuration of the image is not valid/],
    ['38. very deep JSON', `${'['.repeat(100_000)}${']'.repeat(100_000)}`, /nested deeper/],
    ['more than the limit', ' '.repeat(maxConfigBytes + 1), /more than 16777216/],
  ];
  for (const [why, document, message] of invalid) {
    test(`${why}: CONFIG_INVALID`, () => {
      assert.throws(() => parse(document), { code: 'CONFIG_INVALID', message, hint: /broken/ });
    });
  }
});
