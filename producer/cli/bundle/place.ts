import path from 'node:path';

/** The checkout, or where it was copied to. */
export const root = path.resolve(import.meta.dirname, '../../..');
/** Goes with the packages that are in it: a new `npm ci` takes it away. */
export const folder = path.join(root, 'node_modules/.cache/drayage');
/** What the launcher starts when it is there. */
export const bundle = path.join(folder, 'dray.cjs');

/** A file as it was when the bundle was made: path from the root, size, time of its last change in milliseconds. */
export type Source = [file: string, size: number, mtimeMs: number];
