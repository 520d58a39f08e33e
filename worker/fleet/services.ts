import type { Store } from '../../shared/content/store.ts';
import type { DesiredSets } from '../../shared/desired/desired-sets.ts';
import type { ContentLease } from '../../shared/gc/lease.ts';
import type { Logger } from '../../shared/logging.ts';
import type { PullRecords } from '../../shared/pull/records.ts';
import type { Access } from './access.ts';
import type { FetchLeases } from './lease.ts';
import type { RegistryClient } from './registry/client.ts';

/** What the handlers of a fleet worker stand on. */
export interface FleetServices {
  store: Store;
  client: RegistryClient;
  records: PullRecords;
  desired: DesiredSets;
  leases: FetchLeases;
  /** Keeps what somebody relies on from garbage collection. */
  newLease: () => ContentLease;
  access: Access;
  log: Logger;
}
