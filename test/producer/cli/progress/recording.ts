import { mediaTypes } from '../../../../shared/image/descriptor.ts';
import { type Digest, digestOf } from '../../../../shared/image/digest.ts';
import type { BlobKind, BlobStatus, PullStatus } from '../../../../shared/pull/status.ts';

/** The states of one pull of an image with two layers to one node, as a follower sees them. */

export const node = 'node-a';
const MiB = 1024 * 1024;

export function blob(
  kind: BlobKind,
  name: string,
  size: number,
  state?: Partial<BlobStatus>,
): BlobStatus {
  const mediaType = kind === 'config' ? mediaTypes.ociConfig : `application/x-${kind}`;
  const descriptor = { mediaType, digest: digestOf(name), size };
  return { descriptor, kind, state: 'stored', bytes: size, existed: false, ...state };
}

const small = [
  blob('index', 'index', 1_200),
  blob('manifest', 'manifest', 800),
  blob('config', 'config', 2_048),
];
export const manifestDigest: Digest = digestOf('manifest');
export const layerDigests: [Digest, Digest] = [digestOf('layer-0'), digestOf('layer-1')];

function layer(index: 0 | 1, state?: Partial<BlobStatus>): BlobStatus {
  return blob('layer', `layer-${index}`, (index + 1) * 10 * MiB, state);
}

const base: PullStatus = {
  id: 'mabc12340123abcd',
  reference: 'registry.example:5000/library/redis:latest',
  platform: 'linux/amd64',
  priority: 'high',
  state: 'queued',
  createdAt: new Date('2026-01-01T00:00:00Z'),
  paused: false,
  pace: {},
  blobs: [],
  counts: { waiting: 1, unpacking: 0, ready: 0, failed: 0, stopped: 0 },
  nodes: [{ name: node, state: 'waiting', layers: [] }],
};
const target = { mediaType: 'application/x-index', digest: digestOf('index'), size: 1_200 };
const resolved: PullStatus = { ...base, state: 'fetching', target };

function onNode(states: ['waiting' | 'unpacking' | 'done', 'waiting' | 'unpacking' | 'done']) {
  const isReady = states.every((state) => state === 'done');
  return [
    {
      name: node,
      state: isReady ? ('ready' as const) : ('unpacking' as const),
      layers: states.map((state, i) => ({
        digest: layerDigests[i] ?? manifestDigest,
        state,
        bytes: 0,
        existed: false,
      })),
    },
  ];
}

export const recorded: PullStatus[] = [
  base,
  { ...base, state: 'resolving' },
  {
    ...resolved,
    blobs: [
      ...small,
      layer(0, { state: 'waiting', bytes: 0 }),
      layer(1, { state: 'waiting', bytes: 0 }),
    ],
  },
  {
    ...resolved,
    blobs: [
      ...small,
      layer(0, { state: 'fetching', bytes: 5 * MiB }),
      layer(1, { state: 'fetching', bytes: 3 * MiB }),
    ],
    nodes: onNode(['unpacking', 'unpacking']),
  },
  {
    ...resolved,
    blobs: [...small, layer(0), layer(1, { state: 'fetching', bytes: 12 * MiB })],
    nodes: onNode(['unpacking', 'unpacking']),
  },
  {
    ...resolved,
    state: 'unpacking',
    blobs: [...small, layer(0), layer(1)],
    nodes: onNode(['done', 'unpacking']),
  },
  {
    ...resolved,
    state: 'ready',
    finishedAt: new Date('2026-01-01T00:00:02Z'),
    blobs: [...small, layer(0), layer(1)],
    nodes: onNode(['done', 'done']),
  },
];

/** The last state of a pull of what was there already. */
export const repeated: PullStatus = {
  ...resolved,
  state: 'ready',
  blobs: [...small, layer(0), layer(1)].map((b) => ({ ...b, existed: true })),
  nodes: onNode(['done', 'done']).map((n) => ({
    ...n,
    layers: n.layers.map((l) => ({ ...l, existed: true })),
  })),
};

/** What is written to it, as one text. */
export function sink(size: { columns?: number; rows?: number } = {}) {
  const written: string[] = [];
  return {
    columns: size.columns ?? 80,
    rows: size.rows ?? 24,
    write: (text: string | Uint8Array) => {
      written.push(String(text));
      return true;
    },
    text: () => written.join(''),
    last: () => written.at(-1) ?? '',
  };
}
