import type { EncodedError } from '../../../shared/errors.ts';
import type { DigestAlgorithm } from '../../../shared/image/digest.ts';
import type { WrittenLayer } from './entry-writer.ts';
import type { LayerLimits } from './limits.ts';
import type { RingMemory } from './ring.ts';

/** What one layer asks of the three threads of a lane. */
export interface ThreadJob {
  /** Compressed bytes: from the main thread, or where the thread finds them. */
  input: { ring: RingMemory; holds: 'bytes' | 'ranges' } | { file: string };
  /** Uncompressed bytes, to {@link consumer}. */
  output: RingMemory;
  /** One word: the uncompressed bytes that were written so far. */
  progress: SharedArrayBuffer;
  target: string;
  /** Of the diffID. */
  algorithm: DigestAlgorithm;
  /** The layers below, where they are to be seen. */
  lowerDirs: readonly string[];
  limits: LayerLimits;
}

/** The readers of the output ring. */
export const consumer = { digest: 0, write: 1 } as const;

export type ThreadResult =
  | { inflate: { bytes: number } }
  | { digest: string }
  | { write: WrittenLayer };

/** A thread's first message: its code is loaded. */
export interface ThreadReady {
  kind: 'ready';
}

export type ThreadReport =
  | { kind: 'done'; result: ThreadResult }
  | { kind: 'failed'; error: EncodedError }
  /** It stopped because the ring was cancelled. */
  | { kind: 'cancelled' };
