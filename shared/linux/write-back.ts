import koffi from 'koffi';

const cSyncFileRange = koffi
  .load(null)
  .func('int sync_file_range(int fd, long offset, long size, uint32_t flags)');

/** SYNC_FILE_RANGE_WRITE. */
const startWriting = 2;

/**
 * Lets the disk begin with a part of a file, and does not wait (sync_file_range(2)), so that less is left for a sync.
 * It promises nothing, and that it fails says nothing: a sync of the file tells what could not be written.
 */
export function startWriteback(fd: number, offset: number, size: number): void {
  cSyncFileRange(fd, offset, size, startWriting);
}
