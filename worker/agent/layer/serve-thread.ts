import { parentPort } from 'node:worker_threads';
import { encodeError } from '../../../shared/errors.ts';
import { Cancelled, Ring } from './ring.ts';
import type { ThreadJob, ThreadReady, ThreadReport, ThreadResult } from './thread-protocol.ts';

/** Runs each job that the main thread sends, blocking this thread, and reports how it ended. */
export function serveThread(run: (job: ThreadJob, output: Ring) => ThreadResult): void {
  if (parentPort === null) throw new Error('this module runs as a worker thread');
  const port = parentPort;
  port.on('message', (job: ThreadJob) => {
    const output = new Ring(job.output);
    let report: ThreadReport;
    try {
      report = { kind: 'done', result: run(job, output) };
    } catch (error) {
      report =
        error instanceof Cancelled
          ? { kind: 'cancelled' }
          : { kind: 'failed', error: encodeError(error) };
      // The other threads of the lane wait on these.
      output.cancel();
      if ('ring' in job.input) new Ring(job.input.ring).cancel();
    }
    port.postMessage(report);
  });
  port.postMessage({ kind: 'ready' } satisfies ThreadReady);
}
