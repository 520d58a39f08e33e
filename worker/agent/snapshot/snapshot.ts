import { DrayError } from '../../../shared/errors.ts';
import type { ChainID, DiffID } from '../../../shared/image/digest.ts';

/** committed: whole, and can be a parent; active: writable; view: read-only. */
export type SnapshotKind = 'committed' | 'active' | 'view';

/** A state of a file system: a layer upon the stack of its parent. */
export interface Snapshot {
  /** Names its folder. */
  id: number;
  /** The chainID of a committed snapshot, the key of another. */
  name: string;
  kind: SnapshotKind;
  parent?: ChainID;
  /** Of a committed snapshot. */
  diffID?: DiffID;
  /** What a committed snapshot's own layer takes on disk, in bytes. */
  bytes: number;
  /** Files, folders and all else in a committed snapshot's own layer. */
  entries: number;
  createdAt: Date;
  labels: Record<string, string>;
}

/** How a snapshot is mounted, in the form of mount(8): what `dray` prints. */
export interface Mount {
  type: 'overlay' | 'bind';
  source: string;
  options: string[];
}

const keyForm = /^[A-Za-z0-9][A-Za-z0-9_.-]{0,127}$/;

/** Checks the key of an active snapshot or view. It can never be a chainID: those have a colon. @throws USAGE */
export function parseKey(text: string): string {
  if (keyForm.test(text)) return text;
  throw new DrayError('USAGE', `"${text.slice(0, 100)}" is not a key of a snapshot`, {
    hint: 'A key has up to 128 letters, digits, dots, dashes and underscores, a letter or digit first.',
  });
}
