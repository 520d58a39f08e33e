import type { TokenFile } from '../../shared/access/tokens.ts';
import type { Config } from '../../shared/config/config.ts';
import type { Store } from '../../shared/content/store.ts';
import type { Logger } from '../../shared/logging.ts';
import type { Pulls } from '../../shared/pull/pulls.ts';
import type { PullRecords } from '../../shared/pull/records.ts';
import type { PullSummaries } from '../../shared/pull/summary.ts';
import type { Redis } from '../../shared/queue/connection.ts';
import type { JobQueues } from '../../shared/queue/jobs.ts';
import type { ImageFacts } from './image-facts.ts';

/** What the API stands on. */
export interface ApiServices {
  config: Config;
  version: string;
  redis: Redis;
  store: Store;
  facts: ImageFacts;
  pulls: Pulls;
  summaries: PullSummaries;
  records: PullRecords;
  queues: JobQueues;
  log: Logger;
  /** Before there are any, everybody who reaches it may do everything, which is for loopback only. */
  tokens: TokenFile;
}
