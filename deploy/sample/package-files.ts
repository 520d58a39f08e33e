import { execFile } from 'node:child_process';
import { lstat, readlink, realpath, stat } from 'node:fs/promises';
import path from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);
const runOptions = { maxBuffer: 64 << 20, env: { ...process.env, LC_ALL: 'C' } };

/** Documentation that container images leave out, as Debian's slim ones do. */
const left =
  /^\/usr\/share\/(doc|doc-base|man|locale|info|lintian|linda|bug|menu|groff|bash-completion|zsh|perl5|gdb)(\/|$)/;

/**
 * The files with which programs of this machine run somewhere else: the programs, their shared libraries and,
 * where dpkg knows them, everything else of the packages that those come from.
 * @param programs absolute paths; what is not there is left out
 * @returns absolute paths without a symlink in their folders; a symlink comes with what it points to
 */
export async function filesOfPrograms(
  programs: readonly string[],
  options: { signal?: AbortSignal } = {},
): Promise<Set<string>> {
  const found = new Set<string>();
  for (const file of [...programs, ...(await librariesOf(programs, options))]) {
    await addFile(file, found);
  }
  for (const file of await filesOfPackages(await packagesOf([...found], options), options)) {
    await addFile(file, found);
  }
  return found;
}

/** The files of installed packages, without documentation; none where there is no dpkg. */
export async function filesOfPackages(
  packages: readonly string[],
  options: { signal?: AbortSignal } = {},
): Promise<string[]> {
  if (packages.length === 0) return [];
  const { stdout } = await run('dpkg-query', ['-L', ...packages], { ...runOptions, ...options });
  const files = stdout.split('\n').filter((line) => line.startsWith('/') && !left.test(line));
  return [...new Set(files)].sort();
}

/** Adds a file or symlink, by its place without symlinks, and what it points to. Folders are not added. */
export async function addFile(file: string, found: Set<string>): Promise<void> {
  const folder = await realpath(path.dirname(file)).catch(() => undefined);
  if (folder === undefined) return;
  const place = path.join(folder, path.basename(file));
  if (found.has(place)) return;
  const info = await lstat(place).catch(() => undefined);
  if (info?.isSymbolicLink()) {
    const target = path.resolve(folder, await readlink(place));
    // Merged-/usr links are the image's own business, and one that leads nowhere is no use.
    const end = await stat(target).catch(() => undefined);
    if (end === undefined || end.isDirectory()) return;
    found.add(place);
    await addFile(target, found);
  } else if (info?.isFile()) {
    found.add(place);
  }
}

async function librariesOf(
  programs: readonly string[],
  options: { signal?: AbortSignal },
): Promise<Set<string>> {
  // Scripts and static programs have none, which ldd calls a failure.
  const { stdout } = await run('ldd', [...programs], { ...runOptions, ...options }).catch(
    (error: { stdout?: string }) => ({ stdout: error.stdout ?? '' }),
  );
  return new Set([...stdout.matchAll(/(\/\S+) \(0x/g)].flatMap(([, library]) => library ?? []));
}

async function packagesOf(
  files: readonly string[],
  options: { signal?: AbortSignal },
): Promise<string[]> {
  // A package may list its files by either name of a merged /usr.
  const names = files.flatMap((file) => [file, file.replace(/^\/usr(?=\/)/, '')]);
  const answer = await run('dpkg-query', ['-S', ...names], { ...runOptions, ...options }).catch(
    // Some files are in no package: the others are on stdout all the same.
    (error: { stdout?: string }) => ({ stdout: error.stdout ?? '' }),
  );
  const packages = new Set<string>();
  for (const line of answer.stdout.split('\n')) {
    const owners = /^([^/ ]+(?:, [^/ ]+)*): \//.exec(line)?.[1];
    for (const owner of owners?.split(', ') ?? []) packages.add(owner);
  }
  return [...packages].sort();
}
