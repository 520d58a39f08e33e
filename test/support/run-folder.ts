import { readdir, rm } from 'node:fs/promises';
import { layoutOf } from '../../worker/agent/containers/layout.ts';

/** Removes what an agent that has ended has left in memory (/run), where no container needs it any more. */
export async function removeRunFolder(agentRoot: string): Promise<void> {
  const { run, runtime } = layoutOf(agentRoot);
  const running = await readdir(runtime).catch(() => []);
  if (running.length === 0) await rm(run, { recursive: true, force: true });
}
