import { DrayError } from '../../shared/errors.ts';
import { forEachAtMost } from '../../shared/for-each-at-most.ts';
import { nameLease } from '../../shared/gc/lease.ts';
import type { Descriptor } from '../../shared/image/descriptor.ts';
import type { Digest } from '../../shared/image/digest.ts';
import type { PullRecord } from '../../shared/pull/record.ts';
import type { FleetServices } from './services.ts';

/** Pulls that wait for the same blob, and go on at once. */
const concurrentPulls = 16;

type JoinServices = Pick<FleetServices, 'store' | 'records' | 'newLease'>;

/**
 * A blob is in the store: every pull that waits for it goes on. What one pull's manifest says of the blob's
 * size is checked here, since another pull may have fetched it.
 * @returns false when the store does not have it, has one that a node found wrong, or had one, which was set aside
 */
export async function blobArrived(
  services: JoinServices,
  digest: Digest,
  options: { signal?: AbortSignal } = {},
): Promise<boolean> {
  const { records, store } = services;
  const info = await store.content.info(digest, options);
  if (info === undefined || (await records.blobs.isDoubted(digest))) return false;
  const mismatched: string[] = [];
  const failures: unknown[] = [];
  await forEachAtMost(concurrentPulls, await records.blobs.waiting(digest), async (pull) => {
    const arrival = await records.blobs.arrived(pull, digest, info.size);
    if (arrival === 'mismatch') mismatched.push(pull);
    else if (arrival === 'whole') {
      // One that can't go on keeps none of the others waiting: the reconciler looks after it.
      await contentComplete(services, pull, options).catch((error) => failures.push(error));
    }
  });
  if (failures.length > 0) throw failures[0];
  if (mismatched.length === 0) return true;
  if ((await store.content.verify(digest, options)) !== 'right') return false;
  for (const pull of mismatched) {
    const said = (await records.blobs.get(pull, digest))?.descriptor.size;
    await records.fail(
      pull,
      new DrayError(
        'SIZE_MISMATCH',
        `The manifest says that ${digest} has ${said} bytes, but it has ${info.size}`,
        { context: { digest }, hint: 'The image is broken. Build and push it again.' },
      ),
    );
  }
  return true;
}

/**
 * Everything that a pull needs is in the store: its image gets its name, unless another pull, or a person, has said
 * since what the name is. Doing it twice changes nothing. What the store had before the pull is looked at once more,
 * since a name promises all of it: what is gone is wanted again.
 */
export async function contentComplete(
  services: JoinServices,
  pull: string,
  options: { signal?: AbortSignal } = {},
): Promise<void> {
  const record = await services.records.get(pull);
  if (record === undefined || !record.planned) return;
  if (record.want === 'image' && !record.named && record.target !== undefined) {
    await using lease = services.newLease();
    await lease.hold([nameLease(record.reference)], options);
    if (await lostSince(services, pull, options)) return;
    await nameImage({ ...record, target: record.target }, services, options);
  }
  await services.records.named(pull);
}

async function nameImage(
  record: PullRecord & { target: Descriptor },
  { store: { images } }: Pick<JoinServices, 'store'>,
  options: { signal?: AbortSignal },
): Promise<void> {
  const { reference, target, manifest = target, askedAt, pinnedAt = new Date() } = record;
  // What came from the store is no newer for that, and is from where it was.
  const updatedAt = askedAt ?? pinnedAt;
  const before = await images.get(reference, options);
  const isOvertaken =
    before !== undefined && before.target.digest !== target.digest && before.updatedAt > updatedAt;
  if (isOvertaken) return;
  const origin = askedAt === undefined ? undefined : before?.origin;
  await images.put(
    {
      ...{ name: reference, target, manifest, pulledAt: new Date(), updatedAt },
      ...(origin === undefined ? {} : { origin }),
    },
    options,
  );
}

async function lostSince(
  { store, records }: Pick<JoinServices, 'store' | 'records'>,
  pull: string,
  options: { signal?: AbortSignal },
): Promise<boolean> {
  const before = (await records.blobs.planned(pull)).filter(({ existed }) => existed);
  const lost = await Promise.all(
    before.map(async ({ descriptor: { digest } }) => {
      if ((await store.content.info(digest, options)) !== undefined) return false;
      await records.blobs.reopen(pull, digest);
      return true;
    }),
  );
  return lost.includes(true);
}
