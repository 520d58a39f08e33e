/**
 * What only the layers below can decide about a layer that was applied without them. Paths are byte strings
 * (one character a byte), relative to the layer's folder and through real folders only.
 */
export interface Deferred {
  /** Folders that have no entry of their own and may merge with lower ones, each after its parent. */
  folders: string[];
  /**
   * Folders that were made only because something was to be in them. Where a lower layer has a symlink
   * instead, the archive meant what that leads to.
   */
  implied: string[];
  /**
   * Folders without an entry that were made in one that had none by then, each after its parent: where that
   * has setgid below, they take its group.
   */
  inheriting: string[];
  /** Hard links to what is not in the layer. */
  links: DeferredLink[];
  /** Whiteouts, which are of use only where there is something below. */
  whiteouts: string[];
  /** Whether the layer hides everything below it: its own folder can't say so to overlayfs. */
  opaqueRoot: boolean;
}

export interface DeferredLink {
  path: string;
  target: string;
}
