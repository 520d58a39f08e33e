import { accessSync, constants } from 'node:fs';
import { delimiter, join } from 'node:path';
import type { TestContext } from 'node:test';

/** Skips a test that can't run here, saying why; on the CI nothing may be missing. @returns whether it can run */
export function requireThat(t: TestContext, holds: boolean, reason: string): boolean {
  if (holds) return true;
  if (process.env.CI === 'true') throw new Error(`This test can't run: ${reason}`);
  t.skip(reason);
  return false;
}

/** Whether the programs are there; otherwise the test is skipped. */
export function requireTool(t: TestContext, ...names: string[]): boolean {
  const missing = names.filter((name) => !isInstalled(name));
  return requireThat(t, missing.length === 0, `${missing.join(', ')} not installed`);
}

/** Whether a program is on the path. */
export function isInstalled(name: string): boolean {
  const folders = [...(process.env.PATH ?? '').split(delimiter), '/usr/sbin', '/sbin'];
  return folders.some((folder) => {
    try {
      accessSync(join(folder, name), constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}

/** Whether the test runs as root; otherwise it is skipped. */
export function requireRoot(t: TestContext): boolean {
  return requireThat(t, process.getuid?.() === 0, 'it mounts file systems, which needs root');
}
