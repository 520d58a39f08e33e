import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

/**
 * Has V8 collect this thread's garbage and give back what it took, which holds the thread up for some 50 ms. A program
 * that has just started has that time: its heap is full of what the start has left, and would be collected when the
 * first work comes.
 */
export function compactHeap(): void {
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as (options: object) => void;
  collect({ type: 'major', execution: 'sync', flavor: 'last-resort' });
}
