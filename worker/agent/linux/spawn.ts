import { calledAside, cPath, libc, systemError } from './libc.ts';

const cSpawn = libc.func(
  'int posix_spawnp(void *pid, const char *file, const void *actions, const void *attributes, const char **args, const char **env)',
);
const cInitActions = libc.func('int posix_spawn_file_actions_init(void *actions)');
const cDestroyActions = libc.func('int posix_spawn_file_actions_destroy(void *actions)');
const cAddDup = libc.func('int posix_spawn_file_actions_adddup2(void *actions, int fd, int as)');
const cAddOpen = libc.func(
  'int posix_spawn_file_actions_addopen(void *actions, int fd, const void *path, int flags, uint32_t mode)',
);
const cAddChdir = libc.func(
  'int posix_spawn_file_actions_addchdir_np(void *actions, const void *path)',
);
const cInitAttributes = libc.func('int posix_spawnattr_init(void *attributes)');
const cDestroyAttributes = libc.func('int posix_spawnattr_destroy(void *attributes)');
const cSetFlags = libc.func('int posix_spawnattr_setflags(void *attributes, short flags)');
const cSetDefault = libc.func('int posix_spawnattr_setsigdefault(void *attributes, const void *s)');
const cSetMask = libc.func('int posix_spawnattr_setsigmask(void *attributes, const void *s)');
const cWaitpid = libc.func('int waitpid(int pid, void *status, int options)');

/** Where programs of the system lie, also when the agent's PATH is that of a plain user. */
export const systemPath = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

/** POSIX_SPAWN_SETSIGDEF and POSIX_SPAWN_SETSIGMASK. */
const signalFlags = 0x04 | 0x08;
/** More than posix_spawn_file_actions_t, posix_spawnattr_t and sigset_t have, of glibc and of musl. */
const actionsSize = 256;
const attributesSize = 512;
const noSignals = Buffer.alloc(128);
/** 1 to 31. */
const allSignals = Buffer.concat([Buffer.of(0xff, 0xff, 0xff, 0x7f), Buffer.alloc(124)]);
const readWrite = 2;

export interface SpawnRequest {
  /** Default: the system's PATH, and nothing else of the agent's own variables: they may have secrets. */
  env?: Readonly<Record<string, string>>;
  cwd?: string;
  /** What the program has as its descriptors 0, 1, 2 and so on: one of this process, or 'null' for /dev/null. */
  files: readonly (number | 'null')[];
}

/**
 * Starts a program, as posix_spawn(3) does it: it borrows this process's memory until it runs. Node's own spawn
 * copies the page tables, which takes an agent with a few hundred MB some 20 ms, on the main thread. Signals are
 * as nobody had touched them.
 * @param file a path, or the name of a program on the agent's PATH
 * @returns its pid, which must be {@link reap}ed
 * @throws an Error with the errno's name as `code`
 */
export function spawnProgram(file: string, args: readonly string[], request: SpawnRequest): number {
  const { env = { PATH: systemPath }, cwd, files } = request;
  const actions = Buffer.alloc(actionsSize);
  const attributes = Buffer.alloc(attributesSize);
  const pid = Buffer.alloc(4);
  succeeded(cInitActions(actions), file);
  succeeded(cInitAttributes(attributes), file);
  try {
    for (const [as, fd] of files.entries()) {
      if (fd === 'null') cAddOpen(actions, as, cPath('/dev/null'), readWrite, 0);
      else cAddDup(actions, fd, as);
    }
    if (cwd !== undefined) cAddChdir(actions, cPath(cwd));
    cSetFlags(attributes, signalFlags);
    cSetDefault(attributes, allSignals);
    cSetMask(attributes, noSignals);
    const variables = Object.entries(env).map(([name, value]) => `${name}=${value}`);
    succeeded(
      cSpawn(pid, file, actions, attributes, [file, ...args, null], [...variables, null]),
      file,
    );
    return pid.readInt32LE(0);
  } finally {
    cDestroyActions(actions);
    cDestroyAttributes(attributes);
  }
}

/**
 * Waits for the end of a program that {@link spawnProgram} started, on a thread of libuv's pool: to be called when
 * it has ended or is about to.
 * @returns its exit code; 128 + n when signal n ended it
 */
export async function reap(pid: number): Promise<number> {
  const status = Buffer.alloc(4);
  for (;;) {
    try {
      await calledAside(cWaitpid, [pid, status, 0], 'waitpid');
      break;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EINTR') throw error;
    }
  }
  const word = status.readInt32LE(0);
  const signal = word & 0x7f;
  return signal === 0 ? (word >> 8) & 0xff : 128 + signal;
}

/** These calls answer with the errno itself. */
function succeeded(errno: number, file: string): void {
  if (errno !== 0) throw systemError('spawn', errno, file);
}
