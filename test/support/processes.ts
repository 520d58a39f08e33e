import { readdir, readFile } from 'node:fs/promises';
import { until } from './until.ts';

/** Seconds to sleep, which tell a process from those of every other test. */
export const nap = (n: number): string => `${process.pid}${n}`;

/** The ids of the processes of this machine with these arguments, in whatever container. */
export async function processesOf(...args: string[]): Promise<number[]> {
  const wanted = `${args.join('\0')}\0`;
  const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name));
  const lines = await Promise.all(
    pids.map((pid) => readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')),
  );
  return pids.filter((_, i) => lines[i] === wanted).map(Number);
}

/** Waits until so many processes with these arguments run. */
export async function untilRunning(count: number, ...args: string[]): Promise<void> {
  const what = `${count} of ${args.join(' ')}`;
  await until(what, async () => (await processesOf(...args)).length === count);
}
