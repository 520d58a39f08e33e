import { mkdir, readdir, rm, rmdir } from 'node:fs/promises';
import path from 'node:path';
import { DrayError, errnoOf, messageOf } from '../../../shared/errors.ts';
import type { AppliedLayer, LayerApplier } from './apply.ts';

/**
 * Applies a layer to a folder that somebody chose: an empty one, or a new one in a folder that is there. When the
 * layer can't be applied the folder is as it was before: empty, or not there.
 * @param target an absolute path
 * @throws USAGE when the folder can't be used, and what {@link LayerApplier.apply} throws
 */
export async function applyToFolder(
  applier: Pick<LayerApplier, 'apply'>,
  layer: AsyncIterable<Uint8Array>,
  target: string,
  options: { signal?: AbortSignal } = {},
): Promise<AppliedLayer> {
  const isNew = await claimFolder(target);
  try {
    return await applier.apply(layer, target, options);
  } catch (error) {
    const entries = await readdir(target);
    await Promise.all(
      entries.map((entry) => rm(path.join(target, entry), { recursive: true, force: true })),
    );
    if (isNew) await rmdir(target);
    throw error;
  }
}

/** @returns whether the folder was made */
async function claimFolder(target: string): Promise<boolean> {
  try {
    await mkdir(target, { mode: 0o755 });
    return true;
  } catch (error) {
    const errno = errnoOf(error);
    if (errno === 'ENOENT' || errno === 'ENOTDIR') {
      throw unusable(`The folder ${target} can't be made: ${path.dirname(target)} is no folder`);
    }
    if (errno !== 'EEXIST')
      throw unusable(`The folder ${target} can't be made: ${messageOf(error)}`);
  }
  const entries = await readdir(target).catch((error: unknown) => {
    throw unusable(errnoOf(error) === 'ENOTDIR' ? `${target} is no folder` : messageOf(error));
  });
  if (entries.length > 0) throw unusable(`The folder ${target} is not empty`);
  return false;
}

function unusable(message: string): DrayError {
  return new DrayError('USAGE', message, {
    hint: 'A layer is applied to an empty folder, or to a new one in a folder that is there.',
  });
}
