import { z } from 'zod';

/** What several nouns of the API have in common. The schemas follow the types of shared/. */

export const digest = z.string().meta({ description: 'algorithm:encoded, as in sha256:…' });
export const time = z.iso.datetime();

export const descriptor = z
  .looseObject({ mediaType: z.string(), digest, size: z.int().nonnegative() })
  .meta({ id: 'Descriptor' });

export const fault = z
  .looseObject({
    code: z.string(),
    message: z.string(),
    retryable: z.boolean(),
    hint: z.string().optional(),
  })
  .meta({ id: 'Fault', description: 'Why something failed, with the stable code of a problem' });

export const problem = z
  .object({
    type: z.string(),
    title: z.string(),
    status: z.int(),
    code: z.string(),
    detail: z.string(),
    hint: z.string().optional(),
    retryable: z.boolean(),
  })
  .meta({ id: 'Problem', description: 'RFC 9457' });

export function listOf<T extends z.ZodType>(item: T) {
  return z.object({ items: z.array(item) });
}

export function pagesOf<T extends z.ZodType>(item: T) {
  return z.object({
    items: z.array(item),
    next: z.string().optional().meta({ description: 'The cursor of the next page' }),
  });
}
