import { lchownSync } from 'node:fs';
import { setImmediate } from 'node:timers/promises';
import { DrayError, errnoOf, messageOf } from '../../../shared/errors.ts';
import { copyAttributes, copyUp } from './copy-up.ts';
import type { Deferred, DeferredLink } from './deferred.ts';
import { invalid, shown } from './limits.ts';
import { isWhiteout, LowerView } from './lower-view.ts';
import { nameOf, parentOf, pathOf } from './paths.ts';
import { StagedLayer } from './staged-layer.ts';

/** Steps between two turns of the event loop. */
const stepsAtOnce = 100;

/**
 * Whether a path of a layer that was applied without its parents goes through a symlink of theirs
 * (`lib` -> `usr/lib`). Then what it has there stands in the wrong place, and what is right depends on the
 * order of its entries: the layer is to be applied once more, with its parents in sight.
 */
export async function leadsThroughLower(
  lowerDirs: readonly string[],
  { implied }: Deferred,
  options: { signal?: AbortSignal } = {},
): Promise<boolean> {
  if (lowerDirs.length === 0) return false;
  const lower = new LowerView(lowerDirs);
  for (const [index, path] of implied.entries()) {
    if (lower.symlink(path) !== undefined) return true;
    if (index % stepsAtOnce === 0) await setImmediate();
    options.signal?.throwIfAborted();
  }
  return false;
}

/**
 * Completes a layer that was applied without its parents, so that its folder upon theirs shows what applying
 * the layers one after the other would have made:
 * - a folder without an entry of its own takes the attributes of the folder below that it merges with;
 * - a hard link to a file below gets that file copied up, with all attributes;
 * - whiteouts of what is not there are dropped (overlayfs lists them in a folder that merges with none).
 *
 * `dir` and `lowerDirs` (nearest first) are absolute. Nobody else may change them meanwhile.
 * @throws LAYER_INVALID, NO_SPACE, or the signal's reason; then the folder is of no use
 */
export async function rebaseLayer(
  dir: string,
  lowerDirs: readonly string[],
  deferred: Deferred,
  options: { signal?: AbortSignal } = {},
): Promise<void> {
  let steps = 0;
  try {
    for await (const _ of rebase(dir, lowerDirs, deferred)) {
      if (++steps % stepsAtOnce === 0) await setImmediate();
      options.signal?.throwIfAborted();
    }
  } catch (error) {
    options.signal?.throwIfAborted();
    throw describe(error);
  }
}

async function* rebase(
  dir: string,
  lowerDirs: readonly string[],
  deferred: Deferred,
): AsyncGenerator<void> {
  const lower = lowerDirs.length === 0 ? undefined : new LowerView(lowerDirs);
  const layer = new StagedLayer(dir, lower, deferred);
  const copies = new Map<string, string>();
  for (const link of deferred.links) {
    await makeLink(layer, link, copies);
    yield;
  }
  for (const path of deferred.whiteouts) {
    if (layer.below(path) === undefined) dropWhiteout(layer, path);
    yield;
  }
  const merged = new Set<string>();
  for (const path of layer.folders) {
    if (takeAttributes(layer, path)) merged.add(path);
    yield;
  }
  for (const path of deferred.inheriting) {
    if (!merged.has(path)) takeGroup(layer, path);
    yield;
  }
  if (deferred.opaqueRoot) hideRoot(layer);
}

/** Of the folder below that it merges with. @returns whether there is one */
function takeAttributes(layer: StagedLayer, path: string): boolean {
  const below = layer.below(path);
  const nearest = below?.kind === 'folder' ? below.folders[0] : undefined;
  if (nearest === undefined || below === undefined) return false;
  copyAttributes(nearest, below.stats, layer.at(path));
  return true;
}

/** A new folder in one with setgid takes its group, as the kernel has it. */
function takeGroup(layer: StagedLayer, path: string): void {
  const parent = layer.below(parentOf(path));
  if (parent?.kind === 'folder' && (parent.stats.mode & 0o2000n) !== 0n) {
    lchownSync(layer.at(path), 0, Number(parent.stats.gid));
  }
}

async function makeLink(
  layer: StagedLayer,
  { path, target }: DeferredLink,
  copies: Map<string, string>,
): Promise<void> {
  // A symlink below on the way may lead to what is in this layer after all.
  const real =
    layer.belowIgnoringWhiteout(target) === undefined
      ? pathOf(layer.resolve(parentOf(target)), nameOf(target))
      : target;
  const staged = layer.stats(real);
  const isHere = staged !== undefined && !isWhiteout(staged) && !staged.isDirectory();
  let from = real !== target && isHere ? real : copies.get(real);
  if (from === undefined) {
    const below = layer.belowIgnoringWhiteout(real);
    if (below?.kind !== 'other') {
      throw invalid(
        below === undefined
          ? `${shown(path)} is a hard link to ${shown(target)}, which is neither in the layer nor below it`
          : `${shown(path)} is a hard link to ${shown(target)}, which is a folder`,
      );
    }
    // Where the file is seen it becomes one with the link; where the layer hides it, the link is all there is.
    from = layer.shows(real) ? real : path;
    layer.ensureFolder(parentOf(from));
    if (isOccupied(layer, from)) return;
    const to = layer.at(from);
    await layer.keepingTimesOf(parentOf(from), () => copyUp(below.file, below.stats, to));
    copies.set(real, from);
  }
  if (from === path || isOccupied(layer, path)) return;
  layer.link(from, path);
}

/** Whether something else got the place meanwhile; a whiteout makes room. */
function isOccupied(layer: StagedLayer, path: string): boolean {
  const stats = layer.stats(path);
  if (stats === undefined) return false;
  if (!isWhiteout(stats)) return true;
  layer.keepingTimes(parentOf(path), () => layer.removeFile(path));
  return false;
}

function dropWhiteout(layer: StagedLayer, path: string): void {
  const stats = layer.stats(path);
  if (stats === undefined || !isWhiteout(stats)) return;
  layer.keepingTimes(parentOf(path), () => layer.removeFile(path));
}

/** Overlayfs merges the roots of all layers, opaque or not: everything in them is hidden one by one. */
function hideRoot(layer: StagedLayer): void {
  for (const name of layer.rootNamesBelow()) {
    const stats = layer.stats(name);
    if (stats === undefined) layer.makeWhiteout(name);
    else if (stats.isDirectory()) layer.setOpaque(name);
  }
}

function describe(error: unknown): unknown {
  if (error instanceof DrayError || errnoOf(error) === undefined) return error;
  switch (errnoOf(error)) {
    case 'ENOSPC':
    case 'EDQUOT':
      return new DrayError('NO_SPACE', 'The disk is full', {
        retryable: true,
        hint: 'Free space on the disk of the agent, then pull again.',
        cause: error,
      });
    case 'ENAMETOOLONG':
    case 'EMLINK':
      return invalid(`The layer does not fit onto the layers below: ${messageOf(error)}`, error);
    default:
      return error;
  }
}
