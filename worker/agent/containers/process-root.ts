import { closeSync, constants, openSync, readFileSync } from 'node:fs';
import { DrayError, errnoOf } from '../../../shared/errors.ts';

/** The root folder that the processes of a container see, with all that is mounted in it. */
export interface ProcessRoot extends Disposable {
  fd: number;
  /** Leads to it as long as it is open. */
  path: string;
}

/**
 * Opens the root folder of a running process.
 * @param cgroupsPath the process must be in it: a pid may have become another program's
 * @throws CONFLICT when it has ended
 */
export function openProcessRoot(pid: number, cgroupsPath: string): ProcessRoot {
  const proc = open(`/proc/${pid}`);
  try {
    // All below goes by the descriptor, which stays this process's when the pid is given to another.
    const cgroups = readFileSync(`/proc/self/fd/${proc}/cgroup`, 'utf8');
    // What runs in it may have made groups of its own below.
    if (!cgroups.split('\n').some((line) => `${line}/`.includes(`${cgroupsPath}/`))) {
      throw hasEnded();
    }
    const fd = open(`/proc/self/fd/${proc}/root`);
    return { fd, path: `/proc/self/fd/${fd}`, [Symbol.dispose]: () => closeSync(fd) };
  } catch (error) {
    const errno = errnoOf(error);
    throw errno === 'ESRCH' || errno === 'ENOENT' ? hasEnded() : error;
  } finally {
    closeSync(proc);
  }
}

function open(path: string): number {
  try {
    return openSync(path, constants.O_RDONLY | constants.O_DIRECTORY);
  } catch (error) {
    throw errnoOf(error) === 'ENOENT' ? hasEnded() : error;
  }
}

function hasEnded(): DrayError {
  return new DrayError('CONFLICT', 'The container has just ended');
}
