import { z } from 'zod';
import { DrayError, type EncodedError } from '../errors.ts';
import type { Descriptor } from '../image/descriptor.ts';
import { type Digest, isDigest } from '../image/digest.ts';
import { allPlatforms, platformNames } from '../image/platform.ts';
import type { Pace } from './pace.ts';
import { type Priority, priorities } from './priority.ts';
import type { BlobKind, NodeStatus, PlatformImage, PullState, Want } from './status.ts';

/** What a pull has to do with a blob: fixed by its resolve step. */
export interface PlannedBlob {
  descriptor: Descriptor;
  kind: BlobKind;
  /** It was in the store before this pull asked. */
  existed: boolean;
}

/** The fixed and slow-changing part of a pull. */
export interface PullRecord {
  id: string;
  reference: string;
  platform: string;
  /** How many nodes are to hold it, and how many of them have ended so far. */
  nodes: { total: number; ready: number; failed: number };
  pace: Pace;
  /** No further node begins until it is resumed. */
  paused: boolean;
  /** Why no further node begins, for good. */
  stopped?: EncodedError;
  /** The desired set that it is for. */
  desired?: string;
  /** The target came with the request: it says nothing new of the reference. */
  given: boolean;
  /** The name of the credential that counts, as it was given. */
  credential?: string;
  want: Want;
  /** What counts: one that has waited for long may have been raised. */
  priority: Priority;
  /** What was asked for, where it has been raised. */
  raisedFrom?: Priority;
  /** When a tag is asked of the registry: read by parsePullPolicy. */
  policy: string;
  /** The target is what the registry said then: it was not asked again. */
  askedAt?: Date;
  /** When the target was pinned, by Redis' clock. */
  pinnedAt?: Date;
  state: PullState;
  createdAt: Date;
  finishedAt?: Date;
  target?: Descriptor;
  /** The first of those that nodes unpack. */
  manifest?: Descriptor;
  /** What nodes unpack, once that is planned: for each platform that the pull brings. */
  images: PlatformImage[];
  planned: boolean;
  named: boolean;
  error?: EncodedError;
  note?: string;
  /** The URL that is told when the pull has ended. */
  webhook?: string;
  warning?: string;
}

/** Descriptors come back from Redis through here: nothing that is no digest gets past. */
const descriptorSchema = z.looseObject({
  mediaType: z.string(),
  digest: z.custom<Digest>((v) => typeof v === 'string' && isDigest(v)),
  size: z.number().int().nonnegative(),
});

/**
 * A record as Redis has it; undefined where there is none.
 * @throws INTERNAL for one that was damaged, or is of a version that writes others
 */
export function decodeRecord(id: string, fields: Record<string, string>): PullRecord | undefined {
  try {
    return decodeFields(id, fields);
  } catch (error) {
    throw new DrayError('INTERNAL', `The record of the pull ${id} in Redis can't be read`, {
      cause: error,
      hint: `It was damaged or written by another version of drayage. To end the pull: dray pulls cancel ${id}`,
    });
  }
}

function decodeFields(id: string, fields: Record<string, string>): PullRecord | undefined {
  const { reference, platform, state, createdAt, finishedAt, note, desired } = fields;
  if (reference === undefined || platform === undefined || state === undefined) return undefined;
  const target = decodeDescriptor(fields.target);
  const manifest = decodeDescriptor(fields.manifest);
  const raisedFrom = priorities.find((priority) => priority === fields.raisedFrom);
  return {
    id,
    reference,
    platform,
    nodes: {
      total: Number(fields.total ?? 0),
      ready: Number(fields.ready ?? 0),
      failed: Number(fields.failed ?? 0),
    },
    pace: decodePace(fields),
    paused: fields.paused !== undefined,
    given: fields.given !== undefined,
    images: decodeImages(fields, platform, manifest),
    want: (fields.want ?? 'image') as Want,
    priority: priorities.find((priority) => priority === fields.priority) ?? 'normal',
    policy: fields.policy ?? 'always',
    ...(fields.askedAt === undefined ? {} : { askedAt: new Date(Number(fields.askedAt)) }),
    ...(fields.pinnedAt === undefined ? {} : { pinnedAt: new Date(Number(fields.pinnedAt)) }),
    state: state as PullState,
    createdAt: new Date(Number(createdAt)),
    planned: fields.planned !== undefined,
    named: fields.named !== undefined,
    ...(finishedAt === undefined ? {} : { finishedAt: new Date(Number(finishedAt)) }),
    ...(target === undefined ? {} : { target }),
    ...(manifest === undefined ? {} : { manifest }),
    ...(fields.error === undefined ? {} : { error: JSON.parse(fields.error) as EncodedError }),
    ...(fields.credential === undefined ? {} : { credential: fields.credential }),
    ...(raisedFrom === undefined ? {} : { raisedFrom }),
    ...(note === undefined ? {} : { note }),
    ...(fields.webhook === undefined ? {} : { webhook: fields.webhook }),
    ...(fields.warning === undefined ? {} : { warning: fields.warning }),
    ...(desired === undefined ? {} : { desired }),
    ...(fields.stopped === undefined
      ? {}
      : { stopped: JSON.parse(fields.stopped) as EncodedError }),
  };
}

const layersSchema = z.array(z.custom<Digest>((v) => typeof v === 'string' && isDigest(v)));

/** Of several platforms as they stand; of one, what the fields of its manifest say. */
function decodeImages(
  { images, layers = '[]' }: Record<string, string>,
  platform: string,
  manifest: Descriptor | undefined,
): PlatformImage[] {
  const stored =
    images === undefined
      ? manifest && [{ platform, manifest, layers: JSON.parse(layers) as unknown }]
      : (JSON.parse(images) as (Omit<PlatformImage, 'layers'> & { layers: unknown })[]);
  return (stored ?? []).map((image) => ({ ...image, layers: layersSchema.parse(image.layers) }));
}

/** Whether a pull brings more than one platform: then it is said of each node which one it gets. */
export function isOfSeveral({ platform }: Pick<PullRecord, 'platform'>): boolean {
  return platform === allPlatforms || platformNames(platform).length > 1;
}

/** What a node of a pull unpacks; undefined before that is planned. */
export function imageFor(
  { images }: Pick<PullRecord, 'images'>,
  { platform }: Pick<NodeStatus, 'platform'>,
): PlatformImage | undefined {
  return images.length <= 1 ? images[0] : images.find((each) => each.platform === platform);
}

const paceFields = ['parallelism', 'canary', 'maxFailures', 'timeoutMs', 'noProgressMs'] as const;

/** Each a field of its own: the steps of a pull read them. */
function decodePace(fields: Record<string, string>): Pace {
  const pace: Pace = {};
  for (const name of paceFields) {
    if (fields[name] !== undefined) pace[name] = Number(fields[name]);
  }
  return pace;
}

/** A descriptor as Redis has it; undefined where there is none. */
export function decodeDescriptor(text: string | null | undefined): Descriptor | undefined {
  if (text === null || text === undefined) return undefined;
  const result = descriptorSchema.safeParse(JSON.parse(text));
  return result.success ? (result.data as Descriptor) : undefined;
}

/** Whether somebody waits for it, as far as is known: what was raised after a while was not asked for in haste. */
export function isWaitedFor({ priority, raisedFrom = priority }: PullRecord): boolean {
  return raisedFrom === 'high';
}
