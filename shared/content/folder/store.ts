import { desiredSetForm } from '../../desired/set-form.ts';
import { accessForm } from '../../registry/access.ts';
import type { CallOptions, Store } from '../store.ts';
import { folderContent } from './content.ts';
import { inFolder } from './errors.ts';
import { folderImages, writeIndex } from './images.ts';
import { Layout, prepareLayout } from './layout.ts';
import { FolderRecords } from './records.ts';
import { inTurn } from './records-in-turn.ts';

/**
 * Opens a folder as a store, and makes it if there is none. Any number of processes of one machine may use it.
 * The folder is an OCI image layout: `skopeo` and `umoci` read an image in it as `oci:DIR:NAME` and `DIR:NAME`,
 * NAME being the whole reference.
 * @throws STORE_UNAVAILABLE, NO_SPACE
 */
export async function openFolderStore(options: CallOptions & { path: string }): Promise<Store> {
  options.signal?.throwIfAborted();
  const layout = new Layout(options.path);
  await inFolder(layout.root, async () => {
    await prepareLayout(layout);
    // Whoever was killed after it changed a name and before it wrote the index left that to us.
    await writeIndex(layout);
  });
  return {
    content: folderContent(layout),
    images: folderImages(layout),
    desired: inTurn(new FolderRecords(layout, layout.desired, desiredSetForm), layout.desiredLock),
    access: new FolderRecords(layout, layout.access, accessForm),
    describe: () => `folder ${layout.root}`,
    [Symbol.asyncDispose]: () => Promise.resolve(),
  };
}
