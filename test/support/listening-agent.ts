import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import type { Authority } from './authority.ts';
import type { TestFleet } from './fleet.ts';

/** Writes what only its owner may read into a fleet's folder. @returns its path */
export async function keepSecret(
  { folder }: Pick<TestFleet, 'folder'>,
  name: string,
  content: string,
): Promise<string> {
  const file = path.join(folder, name);
  await writeFile(file, content, { mode: 0o600 });
  return file;
}

/** The settings of an agent that answers other machines, with a certificate of its node's name. */
export async function listeningAgent(
  fleet: Pick<TestFleet, 'folder'>,
  authority: Authority,
  node: string,
): Promise<NodeJS.ProcessEnv> {
  const { certificate, key } = await authority.issue(node, [`DNS:${node}`]);
  return {
    DRAY_AGENT_LISTEN: '127.0.0.1:0',
    DRAY_AGENT_TLS_CERT: await keepSecret(fleet, `${node}.pem`, certificate),
    DRAY_AGENT_TLS_KEY: await keepSecret(fleet, `${node}.key`, key),
  };
}
