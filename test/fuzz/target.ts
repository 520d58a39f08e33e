import type { Random } from './random.ts';

/** Something that takes bytes from outside. */
export interface Target {
  generate(random: Random): Buffer;
  /** @throws for a finding */
  check(bytes: Buffer, random: Random): void;
}
