/** Where the bundle begins. It runs only while it is what the sources say; else the sources run. */
import { statSync } from 'node:fs';
import { root, type Source } from './place.ts';

/** The bundle's first line. */
declare const sources: readonly Source[];

const isCurrent = sources.every(([file, size, mtimeMs]) => {
  const stat = statSync(`${root}/${file}`, { throwIfNoEntry: false });
  return stat?.size === size && stat.mtimeMs === mtimeMs;
});
if (isCurrent) {
  void import('../main.ts');
} else {
  // A name that is no literal is left to Node.
  const main: string = `${root}/producer/cli/main.ts`;
  void import(main);
}
