/** Holds digests for as long as it lives, by a lease of three seconds. Arguments: Redis's URL, digests. */
import { ContentLease } from '../../../../shared/gc/lease.ts';
import { connectRedis } from '../../../../shared/queue/connection.ts';
import { prefix } from './store.ts';

const [, , url = '', ...digests] = process.argv;
const redis = connectRedis({ url, prefix }, { name: 'holder' });
await new ContentLease(redis, prefix, { durationMs: 3_000 }).hold(digests);
process.stdout.write('held\n');
