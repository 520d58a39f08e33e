import type { FastifyReply, FastifyRequest } from 'fastify';
import { z } from 'zod';
import {
  path,
  runOptions,
  strings,
  terminalSize,
} from '../../../shared/agent/run-options-schema.ts';
import { DrayError } from '../../../shared/errors.ts';
import { isDigest } from '../../../shared/image/digest.ts';
import { parseContainerID } from '../containers/container.ts';

const maxText = 4096;
const flag = z.enum(['true', 'false', '1', '0', '']).transform((v) => v !== 'false' && v !== '0');

export const createContainerBody = z.strictObject({
  id: z.string().max(maxText),
  image: z.string().min(1).max(maxText),
  options: runOptions.optional(),
  platform: z.string().max(256).optional(),
  autoRemove: z.boolean().optional(),
});

export const execMessage = z.strictObject({
  args: strings.min(1),
  env: strings.optional(),
  workingDirectory: path.optional(),
  user: z.string().max(maxText).optional(),
  terminal: terminalSize.optional(),
  stdin: z.boolean().optional(),
  detach: z.boolean().optional(),
});
export const callerMessage = z.union([
  z.strictObject({ resize: terminalSize }),
  z.strictObject({ signal: z.string().min(1).max(32) }),
  z.strictObject({ endInput: z.literal(true) }),
  z.strictObject({ detach: z.literal(true) }),
]);

export const killBody = z.strictObject({ signal: z.string().min(1).max(32) });
/** Milliseconds. */
export const stopBody = z.strictObject({
  timeout: z.number().int().min(0).max(86_400_000).optional(),
});
export const unpackBody = z.strictObject({
  digest: z.string().refine(isDigest, 'not a digest'),
});
export const prepareBody = z.strictObject({
  key: z.string().max(maxText),
  image: z.string().min(1).max(maxText),
});
const offset = z.coerce.number().int().min(0).max(Number.MAX_SAFE_INTEGER);
const moment = z.iso.datetime({ offset: true }).pipe(z.coerce.date());
const fileName = z
  .string()
  .min(1)
  .max(255)
  .refine((name) => !name.includes('/') && name !== '..', 'not a name');
export const eventsQuery = z.strictObject({
  after: offset.optional(),
  since: moment.optional(),
  follow: flag.optional(),
});
export const lookUpQuery = z.strictObject({ path, follow: flag.optional() });
export const copyOutQuery = z.strictObject({ path, follow: flag.optional(), name: fileName });
export const copyInQuery = z.strictObject({
  path,
  name: fileName.optional(),
  ids: flag.optional(),
});

export const logsQuery = z.strictObject({
  follow: flag.optional(),
  timestamps: flag.optional(),
  from: offset.optional(),
  since: moment.optional(),
  tail: offset.optional(),
});
export const forceQuery = z.strictObject({ force: flag.optional() });
export const applyQuery = z.strictObject({ target: z.string().startsWith('/').max(maxText) });

type DeepDefined<T> = T extends Date
  ? T
  : T extends readonly (infer E)[]
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
