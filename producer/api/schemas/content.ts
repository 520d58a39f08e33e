import { z } from 'zod';
import { digest, listOf, pagesOf, time } from './common.ts';

export const blobInfo = z
  .object({ digest, size: z.int().nonnegative(), createdAt: time })
  .meta({ id: 'StoredBlob' });

export const blobList = pagesOf(blobInfo).meta({ id: 'BlobList' });

export const ingest = z
  .object({
    digest,
    offset: z.int().nonnegative().meta({ description: 'Bytes that are stored' }),
    size: z.int().nonnegative(),
    updatedAt: time,
  })
  .meta({ id: 'Ingest', description: 'A transfer in flight, or what a dead worker left of one' });

export const ingestList = listOf(ingest).meta({ id: 'IngestList' });
