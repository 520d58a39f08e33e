import type { CallOptions, Store } from './store.ts';

/** Where content is kept. */
export type StoreConfig =
  | { kind: 'folder'; path: string }
  | {
      kind: 's3';
      bucket: string;
      /** Before every key: empty, or ending in `/`. */
      prefix: string;
      endpoint?: string;
      region?: string;
      forcePathStyle?: boolean;
    };

/**
 * Opens the content store that the configuration names. Only that kind's code is loaded: the S3 SDK alone
 * costs a tenth of a second.
 * @throws STORE_UNAVAILABLE, UNAUTHORIZED, DENIED
 */
export async function openStore(config: StoreConfig, options: CallOptions = {}): Promise<Store> {
  if (config.kind === 'folder') {
    const { openFolderStore } = await import('./folder/store.ts');
    return await openFolderStore({ path: config.path, ...options });
  }
  const { openS3Store } = await import('./s3/store.ts');
  const { kind: _, ...place } = config;
  return await openS3Store({ ...place, ...options });
}
