import { type Job, type Processor, Worker, type WorkerOptions } from 'bullmq';

/** Milliseconds after which a loop that has asked for no job hangs: it asks every few seconds even when there is none. */
const hangsAfter = 60_000;

/** BullMQ's worker, which notices when it asks for jobs: a process can live on while its loop does not. */
export class ConsumerWorker extends Worker {
  #advancedAt = performance.now();
  #running = 0;

  constructor(name: string, processor: Processor, options: WorkerOptions) {
    super(
      name,
      async (job: Job, token?: string, signal?: AbortSignal) => {
        this.#running++;
        try {
          return await processor(job, token, signal);
        } finally {
          this.#running--;
          this.#advancedAt = performance.now();
        }
      },
      options,
    );
  }

  protected override async moveToActive(token: string, name?: string): Promise<Job> {
    this.#advancedAt = performance.now();
    return await super.moveToActive(token, name);
  }

  /** Whether it goes on asking for jobs, or has no room for one more. */
  isAdvancing(now = performance.now()): boolean {
    return (
      this.isRunning() && (this.#running >= this.concurrency || now - this.#advancedAt < hangsAfter)
    );
  }
}
