import { DrayError } from '../../../shared/errors.ts';

/** What a layer may cost. Layers are an attacker's input. */
export interface LayerLimits {
  /** Uncompressed bytes of the archive, and the length of any one file (a sparse one is longer than its data). */
  maxBytes: number;
  /** Uncompressed to compressed, once there are more than {@link ratioFloor} uncompressed bytes. */
  maxRatio: number;
  maxEntries: number;
  /** Folders within each other. */
  maxDepth: number;
  /** Paths that must be kept in memory: of folders, deletions, and links to what is in no layer but a lower one. */
  maxPathBytes: number;
  /** One extended header: PAX records, a GNU long name, a sparse map. */
  maxHeaderBytes: number;
  /** Milliseconds in which no byte comes in and none is written. */
  idleTimeoutMs: number;
}

export const defaultLimits: LayerLimits = {
  maxBytes: 128 * 2 ** 30,
  maxRatio: 250,
  maxEntries: 1_000_000,
  maxDepth: 1024,
  maxPathBytes: 128 * 2 ** 20,
  maxHeaderBytes: 2 ** 20,
  idleTimeoutMs: 15 * 60 * 1000,
};

/** Below this a high ratio harms nobody: a small file of zeros compresses a thousandfold. */
export const ratioFloor = 256 * 2 ** 20;

export function limitError(message: string): DrayError {
  return new DrayError('LAYER_LIMIT', message, {
    hint: 'If this image is to be trusted, raise the limit: agent.limits in the configuration file.',
  });
}

export function invalid(message: string, cause?: unknown): DrayError {
  return new DrayError('LAYER_INVALID', message, {
    hint: 'The layer is broken or hostile. Build and push the image again.',
    ...(cause === undefined ? {} : { cause }),
  });
}

/** As {@link invalid}, of what only the layers below can decide for good; see {@link dependsOnParents}. */
export function invalidAlone(message: string): DrayError {
  const { hint = '' } = invalid(message);
  return new DrayError('LAYER_INVALID', message, { hint, context: { dependsOnParents: true } });
}

/** Whether a layer that was refused may be right upon the layers below, whose symlinks its paths go through. */
export function dependsOnParents(error: unknown): boolean {
  return error instanceof DrayError && error.context.dependsOnParents === true;
}

/** A path or name of an archive (a byte string), fit for a message. */
export function shown(path: string): string {
  const text = JSON.stringify(Buffer.from(path, 'latin1').toString());
  return text.length > 210 ? `${text.slice(0, 200)}…"` : text;
}
