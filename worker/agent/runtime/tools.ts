import { access, constants } from 'node:fs/promises';
import { join } from 'node:path';
import { DrayError } from '../../../shared/errors.ts';

/** Where programs of the system lie, also when the agent's PATH is that of a plain user. */
export const systemPath = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

/** The path of a program that the agent calls. @param debianPackage brings it. @throws TOOL_MISSING */
export async function findTool(name: string, debianPackage = name): Promise<string> {
  const folders = new Set([...(process.env.PATH ?? '').split(':'), ...systemPath.split(':')]);
  for (const folder of folders) {
    if (!folder.startsWith('/')) continue;
    const path = join(folder, name);
    try {
      await access(path, constants.X_OK);
      return path;
    } catch {
      // The next folder may have it.
    }
  }
  throw new DrayError('TOOL_MISSING', `${name} is not installed on this node`, {
    hint: `Install it: apt-get install ${debianPackage}`,
    context: { tool: name },
  });
}
