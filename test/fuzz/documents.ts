import assert from 'node:assert/strict';
import { DrayError } from '../../shared/errors.ts';
import { parseImageConfig } from '../../shared/image/config.ts';
import { mediaTypes } from '../../shared/image/descriptor.ts';
import { digestOf } from '../../shared/image/digest.ts';
import {
  parseIndexOrManifest,
  parseManifest,
  selectPlatform,
  sniffMediaType,
} from '../../shared/image/manifest.ts';
import { hostPlatform } from '../../shared/image/platform.ts';
import { mutate } from './random.ts';
import type { Target } from './target.ts';

const digest = digestOf('x');
const descriptor = { mediaType: mediaTypes.ociConfig, digest, size: 1 };
const platform = { ...hostPlatform(), variant: 'v8', 'os.version': '1' };
const manifest = {
  ...{ schemaVersion: 2, mediaType: mediaTypes.ociManifest, config: descriptor },
  layers: [{ ...descriptor, annotations: { a: 'b' } }],
};
const config = {
  ...{ os: 'linux', architecture: 'amd64', created: '2024-01-01T00:00:00Z' },
  config: {
    ...{ User: '1:2', Env: ['A=b'], Entrypoint: ['/x'], Cmd: null, WorkingDir: '/', Labels: {} },
    ...{ Volumes: { '/v': {} }, ExposedPorts: { '80/tcp': {} }, StopSignal: 'SIGTERM' },
  },
  rootfs: { type: 'layers', diff_ids: [digest] },
};
const seeds = [
  manifest,
  { schemaVersion: 2, manifests: [{ ...descriptor, platform }, descriptor] },
  config,
  { schemaVersion: 1 },
].map((document) => Buffer.from(JSON.stringify(document)));

const words = [
  ...[
    'null',
    '[]',
    '{}',
    '""',
    '-1',
    '1e999',
    '9007199254740993',
    'true',
    '[[[[',
    '{"a":',
    ']',
    '}',
  ],
  ...[
    '"__proto__":',
    '"constructor":',
    '"layers":',
    '"manifests":',
    '"\\u0000"',
    '\\',
    '"',
    '\ud800',
  ],
  ...[
    '"mediaType":',
    mediaTypes.ociIndex,
    mediaTypes.dockerManifest,
    'sha512:',
    '\xff',
    '['.repeat(40),
  ],
].map((word) => Buffer.from(word));

/** The parsers of manifests, indexes and configurations: a document or a DrayError. */
export const documents: Target = {
  generate: (random) => mutate(random, seeds, words, 2 ** 16),
  check: (bytes, random) => {
    const type = random.pick(Object.values(mediaTypes));
    said(() => sniffMediaType(bytes, 'the image'));
    said(() => parseManifest(bytes, type, 'the image'));
    const parsed = said(() => parseIndexOrManifest(bytes, type, 'the image'));
    if (parsed !== undefined && 'index' in parsed) {
      said(() => selectPlatform(parsed.index, hostPlatform(), 'the image'));
    }
    const layers = [descriptor];
    const image = { mediaType: mediaTypes.ociManifest, config: descriptor, layers };
    const read = said(() => parseImageConfig(bytes, image, 'the image'));
    if (read !== undefined) assert.equal(read.rootfs.diff_ids.length, 1);
    assert.equal(Object.keys(Object.prototype).length, 0, 'the prototype was changed');
  },
};

function said<T>(parse: () => T): T | undefined {
  try {
    return parse();
  } catch (error) {
    if (!(error instanceof DrayError)) throw error;
    assert.notEqual(error.code, 'INTERNAL');
    return undefined;
  }
}
