import { accessSync, constants } from 'node:fs';
import { join } from 'node:path';
import { DrayError } from '../../../shared/errors.ts';
import { systemPath } from '../linux/spawn.ts';

/** Where programs were found. */
const found = new Map<string, string>();

/** The path of a program that the agent calls. @param debianPackage brings it. @throws TOOL_MISSING */
export function findTool(name: string, debianPackage = name): string {
  const before = found.get(name);
  if (before !== undefined && isProgram(before)) return before;
  const folders = new Set([...(process.env.PATH ?? '').split(':'), ...systemPath.split(':')]);
  for (const folder of folders) {
    if (!folder.startsWith('/')) continue;
    const path = join(folder, name);
    if (!isProgram(path)) continue;
    found.set(name, path);
    return path;
  }
  throw new DrayError('TOOL_MISSING', `${name} is not installed on this node`, {
    hint: `Install it: apt-get install ${debianPackage}`,
    context: { tool: name },
  });
}

/** The program of an OCI runtime, by its name or its path on the node. @throws TOOL_MISSING, CONFIG_INVALID */
export function findRuntime(runtime: string): string {
  if (/^[a-z0-9][a-z0-9._-]*$/i.test(runtime)) return findTool(runtime);
  if (!runtime.startsWith('/') || runtime.includes('\0')) {
    throw new DrayError('CONFIG_INVALID', `"${runtime.slice(0, 100)}" is not a runtime`, {
      hint: 'Give the name of a program, as crun, or its whole path on the node.',
    });
  }
  try {
    accessSync(runtime, constants.X_OK);
    return runtime;
  } catch (error) {
    throw new DrayError('TOOL_MISSING', `${runtime} is not a program on this node`, {
      cause: error,
    });
  }
}

function isProgram(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
