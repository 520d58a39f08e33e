import { z } from 'zod';

/** How a pull goes over its nodes. What is not set has no bound. */
export interface Pace {
  /** Nodes that are under way at once. */
  parallelism?: number;
  /** So many nodes come first, and must all be ready before any other begins. */
  canary?: number;
  /** When more nodes than these have failed, no other begins. */
  maxFailures?: number;
  /** Milliseconds from its acceptance in which the pull must have ended. */
  timeoutMs?: number;
  /** Milliseconds without any progress after which the content, or a node, is given up. */
  noProgressMs?: number;
}

const count = (least: number) => z.int().min(least).max(1_000_000).optional();
const milliseconds = z.int().min(1).max(Number.MAX_SAFE_INTEGER).optional();

export const paceSchema = z.object({
  parallelism: count(1),
  canary: count(1),
  maxFailures: count(0),
  timeoutMs: milliseconds,
  noProgressMs: milliseconds,
});
