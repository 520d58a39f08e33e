import type { FastifyReply, FastifyRequest } from 'fastify';
import { z } from 'zod';
import { DrayError } from '../../../shared/errors.ts';
import { isDigest } from '../../../shared/image/digest.ts';
import { parseContainerID } from '../containers/container.ts';

const maxText = 4096;
const path = z.string().min(1).max(maxText);
const flag = z.enum(['true', 'false', '1', '0', '']).transform((v) => v !== 'false' && v !== '0');

const mount = z.discriminatedUnion('type', [
  z.strictObject({
    type: z.literal('bind'),
    source: path,
    target: path,
    readonly: z.boolean().optional(),
  }),
  z.strictObject({
    type: z.literal('tmpfs'),
    target: path,
    readonly: z.boolean().optional(),
    size: z.number().int().positive().max(Number.MAX_SAFE_INTEGER).optional(),
    mode: z.number().int().min(0).max(0o7777).optional(),
  }),
]);

/** What is too large for a kernel to take is told from what is too large for a request by the spec's own limits. */
const strings = z.array(z.string()).max(100_000);

const runOptions = z.strictObject({
  args: strings.optional(),
  env: strings.optional(),
  workingDirectory: path.optional(),
  user: z.string().max(maxText).optional(),
  mounts: z.array(mount).max(1000).optional(),
  network: z.enum(['host', 'none']).optional(),
  hostname: z.string().max(64).optional(),
});

export const createContainerBody = z.strictObject({
  id: z.string().max(maxText),
  image: z.string().min(1).max(maxText),
  options: runOptions.optional(),
  autoRemove: z.boolean().optional(),
});

export const killBody = z.strictObject({ signal: z.string().min(1).max(32) });
export const unpackBody = z.strictObject({
  digest: z.string().refine(isDigest, 'not a digest'),
});
export const prepareBody = z.strictObject({
  key: z.string().max(maxText),
  image: z.string().min(1).max(maxText),
});
export const followQuery = z.strictObject({ follow: flag.optional() });
export const forceQuery = z.strictObject({ force: flag.optional() });
export const applyQuery = z.strictObject({ target: z.string().startsWith('/').max(maxText) });

type DeepDefined<T> = T extends readonly (infer E)[]
  ? DeepDefined<E>[]
  : T extends object
    ? { [K in keyof T]: DeepDefined<Exclude<T[K], undefined>> }
    : T;

/** Checks what came from outside. @throws USAGE naming the place */
export function parse<T>(schema: z.ZodType<T>, value: unknown): DeepDefined<T> {
  const result = schema.safeParse(value ?? {});
  // JSON has no undefined: what is optional is there, or it is not.
  if (result.success) return result.data as DeepDefined<T>;
  const [issue] = result.error.issues;
  throw new DrayError(
    'USAGE',
    `The request is not valid: ${issue?.path.join('.') ?? ''} ${issue?.message ?? ''}`,
  );
}

/** The container's id in a request's path. @throws USAGE */
export function containerID(request: FastifyRequest): string {
  return parseContainerID((request.params as { id: string }).id);
}

/** Aborts when the caller is gone before the answer is. */
export function signalOf(reply: FastifyReply): AbortSignal {
  const gone = new AbortController();
  reply.raw.once('close', () => {
    if (!reply.raw.writableFinished) {
      gone.abort(new DrayError('CANCELLED', 'The caller closed the connection'));
    }
  });
  return gone.signal;
}
