import { Worker } from 'node:worker_threads';

export const targetNames = ['archive', 'documents'] as const;
export type TargetName = (typeof targetNames)[number];

export interface Job {
  target: TargetName;
  seed: number;
  /** The first input, by its number. */
  from: number;
  /** How many; without it, until the time is over. */
  count?: number;
  milliseconds: number;
  /** One word: the number of the input at hand. */
  progress: SharedArrayBuffer;
}

export interface Outcome {
  inputs: number;
  /** What was found, and how to have it again; undefined when nothing was. */
  finding: string | undefined;
}

/** An input that takes longer counts as one that hangs. */
const patience = 10_000;
/** Megabytes of a thread's heap: many times what any input needs. */
const heap = 256;

/** Feeds a target for some time, in a thread that may crash, hang or run out of memory. */
export async function fuzz(options: Omit<Job, 'progress'>): Promise<Outcome> {
  const progress = new SharedArrayBuffer(4);
  const at = new Int32Array(progress);
  const job: Job = { ...options, progress };
  const worker = new Worker(new URL('./thread.ts', import.meta.url), {
    workerData: job,
    resourceLimits: { maxOldGenerationSizeMb: heap },
  });
  const { promise, resolve } = Promise.withResolvers<string | undefined>();
  worker.once('message', (found: string | undefined) => resolve(found));
  worker.once('error', (error) => resolve(error instanceof Error ? error.stack : String(error)));
  let last = { input: -1, since: performance.now() };
  const watch = setInterval(() => {
    const input = Atomics.load(at, 0);
    if (input !== last.input) last = { input, since: performance.now() };
    else if (performance.now() - last.since > patience) resolve(`it takes over ${patience} ms`);
  }, 200);
  const found = await promise;
  clearInterval(watch);
  await worker.terminate();
  const input = Atomics.load(at, 0);
  const again = `npm run fuzz -- --target ${job.target} --seed ${job.seed} --input ${input}`;
  return {
    inputs: input - job.from,
    finding: found === undefined ? undefined : `${found}\nTo have it again: ${again}`,
  };
}
