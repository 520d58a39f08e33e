import { z } from 'zod';
import { jsonForm, timeSchema } from '../content/record-form.ts';

/** Who may have what the store has from a repository, as far as its registry has said so. */
export interface AccessRecord {
  /** `host/repository`. */
  name: string;
  /** When the registry gave it to a caller without any login: anybody may have it. */
  publicAt?: Date;
  /** Logins that the registry gave it to. */
  logins: VerifiedLogin[];
}

export interface VerifiedLogin {
  /** A digest of the login, which nobody can have it back from: the same for the same login only. */
  digest: string;
  /** The name that pulls gave for it; undefined: what the workers have for the registry. */
  credential?: string;
  verifiedAt: Date;
}

const schema = z.object({
  name: z.string().min(1),
  publicAt: timeSchema.optional(),
  logins: z.array(
    z.object({
      digest: z.string().regex(/^[0-9a-f]{64}$/),
      credential: z.string().optional(),
      verifiedAt: timeSchema,
    }),
  ),
}) as unknown as z.ZodType<AccessRecord>;

/** The stored form. */
export const accessForm = jsonForm(schema, {
  kind: 'record of who may pull',
  hint: 'Remove it: the registry is asked again.',
});
