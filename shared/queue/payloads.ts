import { z } from 'zod';
import { DrayError } from '../errors.ts';
import type { Descriptor } from '../image/descriptor.ts';
import { type Digest, isDigest } from '../image/digest.ts';

/**
 * Job payloads. They are untrusted input: no key and no path is made of anything in them but checked
 * digests and ids, and no secret is in them. A payload of a newer version is delayed, not failed,
 * so that old and new workers can run side by side.
 */
export const payloadVersion = 1;

/** A pull's id: 16 hex digits of randomness behind the time, so that ids sort. */
const pullId = z.string().regex(/^[0-9a-z]{8,40}$/);
const digest = z.custom<Digest>((v) => typeof v === 'string' && isDigest(v), 'not a digest');
const descriptor = z.object({
  mediaType: z.string().min(1).max(255),
  digest,
  size: z.number().int().nonnegative().max(Number.MAX_SAFE_INTEGER),
});

const resolveSchema = z.object({ v: z.literal(payloadVersion), pull: pullId });
const fetchSchema = z.object({ v: z.literal(payloadVersion), digest });
const unpackSchema = z.object({ v: z.literal(payloadVersion), pull: pullId, manifest: descriptor });

const gcSchema = z.object({
  v: z.literal(payloadVersion),
  request: pullId,
  dryRun: z.boolean(),
  graceMs: z.number().int().nonnegative().max(Number.MAX_SAFE_INTEGER).optional(),
});

/** Collect garbage now, in the store or on a node, and say what went or would. */
export interface GcPayload {
  v: typeof payloadVersion;
  request: string;
  dryRun: boolean;
  /** In place of the configured one. */
  graceMs?: number;
}

/** Resolve the reference of a pull, whose record has the rest. */
export type ResolvePayload = z.infer<typeof resolveSchema>;
/** Tell the webhook of a pull that it has ended; of which one, its record says. */
export type WebhookPayload = ResolvePayload;
/** Bring a blob into the content store; from where, the records of the pulls that wait for it say. */
export type FetchPayload = z.infer<typeof fetchSchema>;
/** Make a node able to run an image. */
export interface UnpackPayload {
  v: typeof payloadVersion;
  pull: string;
  manifest: Descriptor;
}

export function parseResolvePayload(data: unknown): ResolvePayload {
  return parse(resolveSchema, data, 'resolve');
}
export function parseFetchPayload(data: unknown): FetchPayload {
  return parse(fetchSchema, data, 'fetch-blob');
}
export function parseUnpackPayload(data: unknown): UnpackPayload {
  return parse(unpackSchema, data, 'unpack');
}

export function parseWebhookPayload(data: unknown): WebhookPayload {
  return parse(resolveSchema, data, 'webhook');
}

export function parseGcPayload(data: unknown): GcPayload {
  const { graceMs, ...payload } = parse(gcSchema, data, 'gc');
  return { ...payload, ...(graceMs === undefined ? {} : { graceMs }) };
}

/** @throws PAYLOAD_NEWER (retryable), PAYLOAD_INVALID */
function parse<T>(schema: z.ZodType<T>, data: unknown, queue: string): T {
  const version = (data as { v?: unknown } | null)?.v;
  if (typeof version === 'number' && version > payloadVersion) {
    throw new DrayError(
      'PAYLOAD_NEWER',
      `A ${queue} job has payload version ${version}, this program knows ${payloadVersion}`,
      { retryable: true, hint: 'Upgrade this worker or agent; the job waits for a newer one.' },
    );
  }
  const result = schema.safeParse(data);
  if (result.success) return result.data;
  const [issue] = result.error.issues;
  throw new DrayError(
    'PAYLOAD_INVALID',
    `A ${queue} job has a malformed payload: ${issue?.path.join('.') ?? ''} ${issue?.message ?? ''}`,
  );
}
