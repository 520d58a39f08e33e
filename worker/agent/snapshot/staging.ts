import type { ChainID, DiffID } from '../../../shared/image/digest.ts';

export interface StagingCommit {
  /** The chainID of the stack below, which must be committed. */
  parent?: ChainID;
  /** The verified diffID of the layer that was applied. */
  diffID: DiffID;
  /** What the layer takes on disk, in bytes. */
  bytes: number;
  /** Files, folders and all else in the layer. */
  entries: number;
  labels?: Record<string, string>;
  /** Completes the layer with what only the stack below tells: its folders, nearest first. */
  rebase?: (lowerDirs: string[]) => Promise<void>;
  signal?: AbortSignal;
}

/** A layer that is being applied. Nobody sees it; disposing one that was not committed removes it. */
export interface Staging extends AsyncDisposable {
  /** The empty folder to apply into: owner root, mode 0755. */
  readonly directory: string;
  /**
   * Runs the rebase, flushes the file system and publishes the snapshot at once and durably.
   * A snapshot that is there already is success: what was staged is then removed.
   * @throws NOT_FOUND when the parent is not committed
   */
  commit(options: StagingCommit): Promise<'committed' | 'exists'>;
}
