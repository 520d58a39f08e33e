/** How often each thing is measured. @throws what is wrong with it, for people */
export function parseRuns(text: string): number {
  const runs = Number(text);
  if (Number.isInteger(runs) && runs > 0) return runs;
  throw new Error(`--runs ${text} is not a number`);
}

/** @throws unless this process may mount the disk that it measures on */
export function requireMounts(): void {
  if (process.getuid?.() !== 0) throw new Error('it mounts file systems, which needs root');
}
