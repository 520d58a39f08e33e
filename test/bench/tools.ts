import { execFile } from 'node:child_process';
import { mkdir } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { partsOf, runningPart } from '../../producer/embedded/parts.ts';
import { loadConfig } from '../../shared/config/load.ts';
import { startContainerd } from '../support/containerd.ts';
import { startDray } from '../support/dray.ts';
import { type Measured, measure } from './meter.ts';

const run = promisify(execFile);

export const peerName = 'containerd';
export const floorName = 'floor';

/** Milliseconds for which servers rest that have just started: those of a node have been up for long. */
const rest = 1_000;

/** One way to bring an image onto an empty disk. */
export interface Tool {
  name: string;
  /** @param folder on the disk; empty */
  pull: (reference: string, folder: string, options: { memory: boolean }) => Promise<Measured>;
}

/** `dray pull`, from command to exit; the embedded fleet is up. */
const drayage: Tool = {
  name: 'drayage',
  async pull(reference, folder, options) {
    await using fleet = await startDray({ folder });
    await fleet.dray('up');
    const parts = partsOf(loadConfig({ env: fleet.env }));
    const servers = parts.flatMap((part) => runningPart(part)?.pid ?? []);
    if (servers.length !== parts.length) throw new Error('the embedded fleet is not up');
    await sleep(rest);
    return await measure(
      servers,
      async () => void (await fleet.dray('pull', '--progress', 'none', reference)),
      options,
    );
  },
};

/** `ctr images pull`, from command to exit; the daemon is up. */
const containerd: Tool = {
  name: peerName,
  async pull(reference, folder, options) {
    await using server = await startContainerd({ folder });
    await sleep(rest);
    return await measure([server.pid], () => server.pull(reference), options);
  },
};

/** curl of all blobs, then a decompressor and tar for each layer, one after the other: no digest, no metadata. */
const floor: Tool = {
  name: floorName,
  async pull(reference, folder, options) {
    const layers = await layersOf(reference);
    const steps = layers.map(({ url, zstd }, n) => {
      const blob = path.join(folder, `${n}.blob`);
      const into = path.join(folder, `${n}`);
      const unpack = `${zstd ? 'zstd' : 'igzip'} -dc <${blob} | tar -x -p --numeric-owner -C ${into}`;
      return { folder: into, fetch: `curl -sf -o ${blob} ${url}`, unpack };
    });
    for (const step of steps) await mkdir(step.folder, { recursive: true });
    const lines = [...steps.map((step) => step.fetch), ...steps.map((step) => step.unpack)];
    const script = `set -e -o pipefail\n${lines.join('\n')}`;
    return await measure([], async () => void (await run('bash', ['-c', script])), options);
  },
};

export const tools: readonly Tool[] = [floor, containerd, drayage];

interface ManifestDocument {
  layers: { digest: string; mediaType: string }[];
}

async function layersOf(reference: string): Promise<{ url: string; zstd: boolean }[]> {
  const [, host, repository, tag] = /^([^/]+)\/(.+):([^:]+)$/.exec(reference) ?? [];
  const base = `http://${host}/v2/${repository}`;
  const response = await fetch(`${base}/manifests/${tag}`, {
    headers: { accept: 'application/vnd.oci.image.manifest.v1+json' },
  });
  const { layers } = (await response.json()) as ManifestDocument;
  return layers.map(({ digest, mediaType }) => {
    return { url: `${base}/blobs/${digest}`, zstd: mediaType.endsWith('zstd') };
  });
}
