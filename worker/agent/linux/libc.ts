import { Buffer } from 'node:buffer';
import { getSystemErrorName } from 'node:util';
import koffi from 'koffi';

/** The C library that this process runs with. */
export const libc = koffi.load(null);

/** A path for a system call: text is UTF-8, a Buffer is the name's own bytes (without the final NUL). */
export type Path = string | Buffer;

/** What the C library takes for a path. @throws for a path with a NUL inside, which the kernel would cut there */
export function cPath(path: Path): Buffer {
  const bytes = typeof path === 'string' ? Buffer.from(path) : path;
  if (bytes.includes(0)) throw systemError('open', koffi.os.errno.EINVAL ?? 22, path);
  return Buffer.concat([bytes, Buffer.of(0)]);
}

/** The failure of a system call as Node reports its own: with `code`, `errno`, `syscall` and `path`. */
export function systemError(syscall: string, errno: number, path?: Path): NodeJS.ErrnoException {
  const code = getSystemErrorName(-errno);
  const where = path === undefined ? '' : ` '${path}'`;
  return Object.assign(new Error(`${code}: ${syscall}${where}`), {
    code,
    errno: -errno,
    syscall,
    ...(path === undefined ? {} : { path: path.toString() }),
  });
}

/** The result of a call that answers -1 on failure. */
export function checked(result: number, syscall: string, path?: Path): number {
  if (result < 0) throw systemError(syscall, koffi.errno(), path);
  return result;
}

/** Runs a call that may take long on a thread of libuv's pool. */
export function calledAside(
  func: ReturnType<typeof libc.func>,
  args: readonly unknown[],
  syscall: string,
  path?: Path,
): Promise<number> {
  return new Promise((resolve, reject) => {
    func.async(...args, (error: unknown, result: number) => {
      if (error !== null && error !== undefined) reject(error);
      else if (result < 0) reject(systemError(syscall, koffi.errno(), path));
      else resolve(result);
    });
  });
}
