/** A worker thread: makes inputs and checks the target on each. */
import { parentPort, workerData } from 'node:worker_threads';
import { archive } from './archive.ts';
import { documents } from './documents.ts';
import { Random } from './random.ts';
import type { Job } from './run.ts';

const { target, seed, from, count, milliseconds, progress } = workerData as Job;
const { generate, check } = { archive, documents }[target];
const at = new Int32Array(progress);
/** Bytes outside of the heap: inputs are small, and so must be what is made of them. */
const maxBuffers = 256 * 2 ** 20;
const end = performance.now() + milliseconds;
let found: string | undefined;

for (let input = from; found === undefined; input++) {
  Atomics.store(at, 0, input);
  if (count === undefined ? performance.now() > end : input >= from + count) break;
  // Each input follows from the seed and its own number alone.
  const random = new Random(Math.imul(seed, 0x9e3779b1) ^ Math.imul(input, 0x85ebca6b));
  const bytes = generate(random);
  try {
    check(bytes, random);
    if (process.memoryUsage().arrayBuffers > maxBuffers) throw new Error('it takes much memory');
  } catch (error) {
    const text = error instanceof Error ? error.stack : String(error);
    found = `${text}\nThe input in base64: ${bytes.toString('base64').slice(0, 4000)}`;
  }
}
parentPort?.postMessage(found);
