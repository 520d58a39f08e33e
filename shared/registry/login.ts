import { z } from 'zod';
import type { EncodedError } from '../errors.ts';
import { isCredentialName } from './credential-name.ts';

/**
 * What the `dray` command asks of the program worker/fleet/login.ts, as one JSON document on its standard input:
 * never in arguments or the environment, which others can read, and never through Redis.
 */
export const loginRequestSchema = z.discriminatedUnion('action', [
  z.strictObject({
    action: z.literal('login'),
    registry: z.string().min(1),
    username: z.string().min(1),
    password: z.string().min(1),
    credential: z.string().refine(isCredentialName).optional(),
  }),
  z.strictObject({
    action: z.literal('logout'),
    registry: z.string().min(1),
    credential: z.string().refine(isCredentialName).optional(),
  }),
]);

export type LoginRequest = z.infer<typeof loginRequestSchema>;

/** What the program answers on its standard output. */
export type LoginOutcome =
  | {
      action: 'login';
      /** Where the login is now, for people. */
      where: string;
      /** False when the registry asks for no login, so that nothing is known of this one. */
      checked: boolean;
    }
  | {
      action: 'logout';
      where: string;
      /** False when there was no login. */
      removed: boolean;
      /** Where the workers of this machine and user still find one. */
      remaining?: string;
    }
  | { action: 'failed'; error: EncodedError };
