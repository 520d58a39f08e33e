import { setImmediate } from 'node:timers/promises';
import { DrayError, errnoOf, messageOf } from '../../../shared/errors.ts';
import { copyAttributes, copyUp } from './copy-up.ts';
import type { Deferred, DeferredLink } from './deferred.ts';
import { invalid, shown } from './limits.ts';
import { isWhiteout } from './lower-view.ts';
import { pathOf } from './paths.ts';
import { nameOf, parentOf, StagedLayer } from './staged-layer.ts';

/** Steps between two turns of the event loop. */
const stepsAtOnce = 100;

/**
 * Completes a layer that was applied without its parents, so that its folder upon theirs shows what applying
 * the layers one after the other to a mounted overlay would have made:
 * - a folder without an entry of its own takes the attributes of the folder below that it merges with; where
 *   a symlink is below (`lib` -> `usr/lib`), what is in it moves to where that leads, inside the root;
 * - a hard link to a file below gets that file copied up, with all attributes;
 * - whiteouts of what is not there are dropped (overlayfs lists them in a folder that merges with none).
 *
 * Where an entry that moves meets one that was named by its real path, the latter stays.
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
  { folders, links, whiteouts, opaqueRoot }: Deferred,
): AsyncGenerator<void> {
  const layer = new StagedLayer(dir, lowerDirs, { folders, links, whiteouts, opaqueRoot });
  // What a move renames comes at the end of the set, and so has its turn later.
  for (const path of layer.folders) {
    if (layer.symlinkBelow(path)) moveThroughSymlink(layer, path);
    yield;
  }
  const copies = new Map<string, string>();
  for (const link of layer.links) {
    await makeLink(layer, link, copies);
    yield;
  }
  for (const path of layer.whiteouts) {
    if (layer.below(path) === undefined) dropWhiteout(layer, path);
    yield;
  }
  for (const path of layer.folders) {
    const below = layer.below(path);
    const nearest = below?.kind === 'folder' ? below.folders[0] : undefined;
    if (nearest !== undefined && below !== undefined) {
      copyAttributes(nearest, below.stats, layer.at(path));
    }
    yield;
  }
  if (opaqueRoot) hideRoot(layer);
}

function moveThroughSymlink(layer: StagedLayer, path: string): void {
  const target = layer.resolve(path);
  layer.ensureFolder(target);
  if (layer.isOpaque(path)) layer.setOpaque(target);
  layer.keepingTimes(target, () => merge(layer, path, target));
  layer.keepingTimes(parentOf(path), () => layer.removeFolder(path));
  layer.folders.delete(path);
  layer.renameAll(path, target);
}

/** Moves what is in one folder of the layer to another. */
function merge(layer: StagedLayer, from: string, to: string): void {
  for (const name of layer.names(from)) {
    const [source, target] = [pathOf(from, name), pathOf(to, name)];
    const moving = layer.stats(source);
    const resident = layer.stats(target);
    if (moving === undefined) continue;
    if (resident === undefined) {
      layer.move(source, target);
    } else if (isWhiteout(moving)) {
      if (resident.isDirectory()) layer.setOpaque(target);
      layer.removeFile(source);
    } else if (isWhiteout(resident)) {
      layer.removeFile(target);
      layer.move(source, target);
      if (moving.isDirectory()) layer.setOpaque(target);
    } else if (moving.isDirectory() && resident.isDirectory()) {
      mergeFolders(layer, source, target);
    } else {
      layer.removeTree(source);
    }
  }
}

/** Of two folders one of which has an entry, that says the attributes. */
function mergeFolders(layer: StagedLayer, source: string, target: string): void {
  const stats = layer.stats(source);
  if (layer.isOpaque(source)) layer.setOpaque(target);
  layer.keepingTimes(target, () => merge(layer, source, target));
  if (layer.folders.has(target) && !layer.folders.has(source) && stats !== undefined) {
    layer.folders.delete(target);
    copyAttributes(layer.at(source), stats, layer.at(target));
  } else if (!layer.folders.has(target)) {
    layer.folders.delete(source);
  }
  layer.removeFolder(source);
}

async function makeLink(
  layer: StagedLayer,
  { path, target }: DeferredLink,
  copies: Map<string, string>,
): Promise<void> {
  // A symlink below on the way may lead to what is in this layer after all.
  const real = pathOf(layer.resolve(parentOf(target)), nameOf(target));
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
    // In its own place it would show again what this layer hides.
    from = staged === undefined && layer.below(real) !== undefined ? real : path;
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
