import type { ChainID, DiffID } from '../../../shared/image/digest.ts';

export interface StagingCommit {
  /** The chainID of the stack below, which must be committed, or be about to: see `below`. */
  parent?: ChainID;
  /** The parent where it is being committed at the same time: this commit ends after that one. */
  below?: StackBelow;
  /** The verified diffID of the layer that was applied. */
  diffID: DiffID;
  /** What the layer takes on disk, in bytes. */
  bytes: number;
  /** Files, folders and all else in the layer. */
  entries: number;
  labels?: Record<string, string>;
  /** Completes the layer with what only the stack below tells: its folders, nearest first. */
  rebase?: (lowerDirs: readonly string[]) => Promise<void>;
  /** Called when the layer is complete, before it is flushed, with the folders of its stack, nearest first. */
  onComplete?: (folders: readonly string[]) => void;
  signal?: AbortSignal;
}

/** A stack whose uppermost layer is complete, but not committed yet. */
export interface StackBelow {
  /** Its folders, nearest first. */
  folders: readonly string[];
  /** Resolves when it is committed. */
  committed: Promise<unknown>;
}

/** A layer that is being applied. Nobody sees it; disposing one that was not committed removes it. */
export interface Staging extends AsyncDisposable {
  /** The empty folder to apply into: owner root, mode 0755. */
  readonly directory: string;
  /**
   * Runs the rebase, flushes the file system and publishes the snapshot at once and durably. Commits that come
   * together share a flush.
   * A snapshot that is there already is success: what was staged is then removed.
   * @throws NOT_FOUND when the parent is not committed
   */
  commit(options: StagingCommit): Promise<'committed' | 'exists'>;
}
