import { type FSWatcher, readFileSync, watch } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { errnoOf } from '../../../shared/errors.ts';

/** Milliseconds between two looks at the folder, should its file system not tell of changes. */
const pollInterval = 1_000;

/** Tells of the files that monitors write when containers end. */
export class ExitWatch implements Disposable {
  readonly #watcher: FSWatcher | undefined;
  readonly #timer: NodeJS.Timeout;

  /** @param onExit called with an instance, perhaps more than once @param onPoll called now and then */
  constructor(folder: string, onExit: (instance: string) => void, onPoll: () => void) {
    const look = async () => {
      for (const name of await readdir(folder)) if (isExitFile(name)) onExit(name);
      onPoll();
    };
    try {
      this.#watcher = watch(folder, (_, name) => {
        if (name !== null && isExitFile(name)) onExit(name);
      });
      this.#watcher.on('error', () => {});
    } catch {
      // Out of watches: the polling is enough.
    }
    this.#timer = setInterval(() => void look().catch(() => {}), pollInterval);
    this.#timer.unref();
  }

  [Symbol.dispose](): void {
    this.#watcher?.close();
    clearInterval(this.#timer);
  }
}

/** A monitor writes a temporary file first, which has a suffix of `.` and six characters (g_file_set_contents). */
function isExitFile(name: string): boolean {
  return !/\.[A-Za-z0-9]{6}$/.test(name);
}

/** The exit code in a monitor's file, or undefined while there is none. */
export function readExit(path: string): number | undefined {
  try {
    const code = Number.parseInt(readFileSync(path, 'utf8'), 10);
    return Number.isInteger(code) ? code & 0xff : undefined;
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return undefined;
    throw error;
  }
}
