import { DrayError, errnoOf } from '../../errors.ts';

/**
 * What a failed system call means to whoever uses the store; anything else (a signal's reason, a DrayError)
 * is returned as it is.
 */
export function folderError(error: unknown, place: string): unknown {
  const errno = errnoOf(error);
  if (error instanceof DrayError || errno === undefined || !/^E[A-Z0-9]+$/.test(errno)) {
    return error;
  }
  if (errno === 'ENOSPC' || errno === 'EDQUOT') {
    return new DrayError('NO_SPACE', `The disk of the content store ${place} is full`, {
      cause: error,
      retryable: true,
      hint: 'Make room on it, or move the store to a larger disk.',
      context: { place },
    });
  }
  const denied = errno === 'EACCES' || errno === 'EPERM' || errno === 'EROFS';
  return new DrayError(
    'STORE_UNAVAILABLE',
    `The content store ${place} failed with ${errno}${denied ? ': this user may not use it' : ''}`,
    {
      cause: error,
      retryable: !denied,
      hint: denied
        ? 'Run it as a user that may use the folder, with sudo for one; or name another: DRAY_STORE=folder:/path.'
        : 'Check the folder and the disk that it is on.',
      context: { place, errno },
    },
  );
}

/** Runs `work` and tells its failures as {@link folderError} does. */
export async function inFolder<T>(place: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw folderError(error, place);
  }
}

/** The result of a call, or undefined when what it asks for is not there. */
export async function ifThere<T>(work: Promise<T>): Promise<T | undefined> {
  try {
    return await work;
  } catch (error) {
    const errno = errnoOf(error);
    if (errno === 'ENOENT' || errno === 'ENOTDIR') return undefined;
    throw error;
  }
}
