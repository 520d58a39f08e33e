import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { NetworkMode } from '../../../shared/agent/run-options.ts';
import { errnoOf } from '../../../shared/errors.ts';

const localHosts = [
  '127.0.0.1\tlocalhost',
  '::1\tlocalhost ip6-localhost ip6-loopback',
  'fe00::\tip6-localnet',
  'ff00::\tip6-mcastprefix',
  'ff02::1\tip6-allnodes',
  'ff02::2\tip6-allrouters',
];

export interface NetworkFilesRequest {
  /** Where the files are written. */
  bundle: string;
  hostname: string;
  network: NetworkMode;
  signal?: AbortSignal;
}

/**
 * Writes a container's own /etc/hostname, /etc/hosts and /etc/resolv.conf: in the node's network as the
 * node has them, else with what a loopback device answers to.
 */
export async function writeNetworkFiles(
  request: NetworkFilesRequest,
): Promise<{ source: string; target: string }[]> {
  const { bundle, hostname, network } = request;
  const call = request.signal === undefined ? {} : { signal: request.signal };
  const shared = network === 'host';
  const files = {
    hostname: `${hostname}\n`,
    hosts: (shared ? await readHostFile('/etc/hosts', call) : undefined) ?? ownHosts(hostname),
    'resolv.conf': (shared ? await readHostFile('/etc/resolv.conf', call) : undefined) ?? '',
  };
  return await Promise.all(
    Object.entries(files).map(async ([name, text]) => {
      const source = join(bundle, name);
      await writeFile(source, text, { mode: 0o644, ...call });
      return { source, target: `/etc/${name}` };
    }),
  );
}

function ownHosts(hostname: string): string {
  return `${[...localHosts, `127.0.1.1\t${hostname}`].join('\n')}\n`;
}

async function readHostFile(
  path: string,
  options: { signal?: AbortSignal },
): Promise<string | undefined> {
  try {
    return await readFile(path, { encoding: 'utf8', ...options });
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return undefined;
    throw error;
  }
}
