import { existsSync } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { until } from '../../../support/until.ts';

/** A runtime that stops at one of runc's commands until it is let go. */
export interface HeldRuntime {
  /** For the option `runtime` of a container. */
  program: string;
  /** Resolves when somebody has called the command. */
  reached: () => Promise<void>;
  letGo: () => Promise<void>;
}

/** @param folder where its files are made @param command as `start` or `kill` @param name of its own, where there are several */
export async function heldRuntime(
  folder: string,
  command: string,
  name = command,
): Promise<HeldRuntime> {
  const own = path.join(folder, `held-${name}`);
  const [program, called, go] = ['runc', 'called', 'go'].map((name) => path.join(own, name));
  await mkdir(own);
  const script = `#!/bin/sh
for word; do
  [ "$word" = ${command} ] || continue
  : > ${called}
  while [ ! -e ${go} ]; do sleep 0.02; done
  break
done
exec runc "$@"
`;
  await writeFile(program ?? '', script, { mode: 0o755 });
  return {
    program: program ?? '',
    reached: () => until(`runc ${command}`, () => existsSync(called ?? '')).then(() => {}),
    letGo: () => writeFile(go ?? '', ''),
  };
}
