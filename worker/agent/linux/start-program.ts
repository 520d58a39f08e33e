import { closeSync } from 'node:fs';
import { Socket } from 'node:net';
import { makePipe } from './pipe.ts';
import { reap, type SpawnRequest, spawnProgram } from './spawn.ts';

/** A program that runs for as long as it likes. */
export interface RunningProgram {
  /** Its exit code; 128 + n when signal n ended it. */
  ended: Promise<number>;
  /** Sends it a signal; one that has ended is left alone. */
  kill: (signal: number | NodeJS.Signals) => void;
}

/**
 * Starts a program: see {@link spawnProgram}. It has one more file than `request` says, the end of a pipe that is
 * closed when it ends: no thread waits meanwhile. What it hands that on to counts as the program.
 * @throws an Error with the errno's name as `code`
 */
export function startProgram(
  file: string,
  args: readonly string[],
  request: SpawnRequest,
): RunningProgram {
  const life = makePipe();
  let pid: number;
  try {
    pid = spawnProgram(file, args, { ...request, files: [...request.files, life.write] });
  } catch (error) {
    closeSync(life.read);
    throw error;
  } finally {
    closeSync(life.write);
  }
  let isOver = false;
  const ended = new Promise<void>((resolve) => {
    readEnd(life.read).once('close', resolve).resume();
  }).then(async () => {
    // From here on its pid may become another's.
    isOver = true;
    return await reap(pid);
  });
  return {
    ended,
    kill: (signal) => {
      if (isOver) return;
      try {
        process.kill(pid, signal);
      } catch {
        // It has just ended.
      }
    },
  };
}

/** The end of a pipe that a program writes to, as a stream. */
export function readEnd(fd: number): Socket {
  return new Socket({ fd, readable: true, writable: false }).on('error', () => {});
}

/** The end of a pipe that a program reads, as a stream. */
export function writeEnd(fd: number): Socket {
  return new Socket({ fd, readable: false, writable: true }).on('error', () => {});
}
