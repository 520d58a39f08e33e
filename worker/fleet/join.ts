import { DrayError } from '../../shared/errors.ts';
import type { Digest } from '../../shared/image/digest.ts';
import type { FleetServices } from './services.ts';

type JoinServices = Pick<FleetServices, 'store' | 'records'>;

/**
 * A blob is in the store: every pull that waits for it goes on. What one pull's manifest says of the blob's
 * size is checked here, since another pull may have fetched it.
 */
export async function blobArrived(
  services: JoinServices,
  digest: Digest,
  options: { signal?: AbortSignal } = {},
): Promise<void> {
  const info = await services.store.content.info(digest, options);
  if (info === undefined) return;
  for (const pull of await services.records.waiting(digest)) {
    const planned = await services.records.blob(pull, digest);
    if (planned !== undefined && planned.descriptor.size !== info.size) {
      await services.records.fail(
        pull,
        new DrayError(
          'SIZE_MISMATCH',
          `The manifest says that ${digest} has ${planned.descriptor.size} bytes, but it has ${info.size}`,
          { context: { digest }, hint: 'The image is broken. Build and push it again.' },
        ),
      );
    } else if (await services.records.arrived(pull, digest)) {
      await contentComplete(services, pull, options);
    }
  }
}

/** Everything that a pull needs is in the store: its image gets its name. Doing it twice changes nothing. */
export async function contentComplete(
  services: JoinServices,
  pull: string,
  options: { signal?: AbortSignal } = {},
): Promise<void> {
  const record = await services.records.get(pull);
  if (record === undefined || !record.planned) return;
  const { want, named, reference, target, manifest, askedAt } = record;
  if (want === 'image' && !named && target !== undefined) {
    await services.store.images.put(
      // What came from the store is no newer for that.
      { name: reference, target, manifest: manifest ?? target, updatedAt: askedAt },
      options,
    );
  }
  await services.records.named(pull);
}
