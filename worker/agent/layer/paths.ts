/** Paths of an archive and in a layer: byte strings (one character a byte), without a slash at either end. */
import { invalid, shown } from './limits.ts';

/** The path of an entry of a folder. */
export function pathOf(folder: string, name: string): string {
  return folder === '' ? name : `${folder}/${name}`;
}

export function parentOf(path: string): string {
  const slash = path.lastIndexOf('/');
  return slash < 0 ? '' : path.slice(0, slash);
}

export function nameOf(path: string): string {
  return path.slice(path.lastIndexOf('/') + 1);
}

/** @throws LAYER_INVALID for names and paths that Linux could not open */
export function checkName(path: string, name: string): void {
  if (name.length > 255) throw invalid(`${shown(path)} has a name of more than 255 bytes`);
  if (path.length > 4095) throw invalid(`${shown(path)} is longer than 4095 bytes`);
  if (name.includes('\0')) throw invalid(`${shown(path)} has a NUL in its name`);
}

const unclean = /(?:^|\/)(?:\.{0,2})(?:\/|$)/;

/** A path relative to the root, without empty parts, `.` and `..` (path.Clean of Go, rooted); '' is the root. */
export function cleanPath(path: string): string {
  let start = path.startsWith('./') ? 2 : 0;
  if (path[start] === '/') start++;
  const end = path.length - (path.length > start && path.endsWith('/') ? 1 : 0);
  const plain = path.slice(start, end);
  if (!unclean.test(plain)) return plain;
  const parts: string[] = [];
  for (const part of path.split('/')) {
    if (part === '..') parts.pop();
    else if (part !== '' && part !== '.') parts.push(part);
  }
  return parts.join('/');
}
