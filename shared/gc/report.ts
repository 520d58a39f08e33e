/** Something that a collection removed, or would. */
export interface GcItem {
  /** `image`: the name of one. `snapshot`: a layer on a node. The others are of the content store: see Leftover. */
  kind: 'image' | 'blob' | 'ingest' | 'upload' | 'set aside' | 'file' | 'snapshot';
  name: string;
  bytes: number;
  why: string;
}

/** What stays although nothing leads to it, or although it is asked to go, by the reason. */
export interface GcKept {
  count: number;
  bytes: number;
  why: string;
}

/** What one part of the fleet did, or would do: the store, or a node. */
export interface GcReport {
  items: GcItem[];
  kept: GcKept[];
  /** Items that are not listed, of a report that is too long. */
  more?: { count: number; bytes: number };
  /** Why it could not do all that it should. */
  problems: string[];
}

export function emptyReport(): GcReport {
  return { items: [], kept: [], problems: [] };
}

/** Adds to what stays for one reason. */
export function keep(report: GcReport, why: string, bytes: number): void {
  const known = report.kept.find((each) => each.why === why);
  if (known === undefined) report.kept.push({ count: 1, bytes, why });
  else {
    known.count++;
    known.bytes += bytes;
  }
}
