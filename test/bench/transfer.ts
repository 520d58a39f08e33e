/** What bringing blobs into a folder store costs one worker, beside curl into files. */
import { execFile } from 'node:child_process';
import { createCipheriv, createHash } from 'node:crypto';
import { mkdir, mkdtemp, open, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs, promisify } from 'node:util';
import { mediaTypes } from '../../shared/image/descriptor.ts';
import { startFleet } from '../support/fleet.ts';
import { startRegistry, type TestRegistry } from '../support/registry.ts';
import { parseRuns, requireMounts } from './arguments.ts';
import { mountDisk } from './disk.ts';
import { type Measured, measure } from './meter.ts';
import { median } from './table.ts';

const run = promisify(execFile);
const usage = `npm run bench:registry -- [options]
  --runs N       timed runs of each (default 3)
  --cases A,B    of many, large (default both)
  --json FILE    writes the rows there as well`;

interface Case {
  name: 'many' | 'large';
  title: string;
  blobs: number;
  /** Bytes of each. */
  size: number;
}

const cases: readonly Case[] = [
  { name: 'many', title: '20 × 50 MB', blobs: 20, size: 50e6 },
  { name: 'large', title: '1 × 5 GB', blobs: 1, size: 5e9 },
];
/** As in the benchmark of a pull: a worker of a fleet has been up for long. */
const restMs = 1_000;
const layerType = 'application/vnd.oci.image.layer.v1.tar';

interface Row {
  case: string;
  tool: string;
  /** Seconds. */
  wall_s: number;
  cpu_s: number;
  /** Of the worker alone. */
  peak_mib: number;
  ratio_to_curl: number;
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      runs: { type: 'string', default: '3' },
      cases: { type: 'string', default: cases.map(({ name }) => name).join(',') },
      json: { type: 'string' },
      help: { type: 'boolean', short: 'h' },
    },
  });
  if (values.help) return console.log(usage);
  requireMounts();
  const runs = parseRuns(values.runs);
  const names = values.cases.split(',');
  const unknown = names.find((name) => !cases.some((one) => one.name === name));
  if (unknown !== undefined) throw new Error(`"${unknown}" is no case`);
  const rows: Row[] = [];
  const folder = await mkdtemp(path.join(tmpdir(), 'dray-bench-'));
  const data = path.join(folder, 'registry');
  try {
    await using registry = await startRegistry({ data });
    for (const one of cases.filter(({ name }) => names.includes(name))) {
      await putImage(registry, data, one);
      rows.push(...(await measureCase(registry, one, { folder, runs })));
    }
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
  console.log(table(rows));
  if (values.json !== undefined) {
    await writeFile(values.json, `${JSON.stringify(rows, undefined, 2)}\n`);
  }
}

/**
 * Lays an image of such blobs into the registry's folder. They are of a key stream or, when
 * large, sparse files: what is measured is the way from the registry, not its disk.
 */
async function putImage(registry: TestRegistry, data: string, one: Case): Promise<void> {
  const layers = [];
  await mkdir(data, { recursive: true });
  const scratch = path.join(data, 'scratch');
  for (let n = 0; n < one.blobs; n++) {
    const hash = createHash('sha256');
    const file = await open(scratch, 'w');
    if (one.blobs === 1) {
      const zeros = Buffer.alloc(1 << 20);
      for (let left = one.size; left > 0; left -= zeros.length)
        hash.update(zeros.subarray(0, left));
      await file.truncate(one.size);
    } else {
      const key = createHash('sha256').update(`${n}`).digest();
      const cipher = createCipheriv('aes-256-ctr', key, Buffer.alloc(16));
      const bytes = cipher.update(Buffer.alloc(one.size));
      hash.update(bytes);
      await file.writeFile(bytes);
    }
    await file.close();
    const hex = hash.digest('hex');
    // The layout of distribution's file system driver, version 2.
    const root = path.join(data, 'docker/registry/v2');
    const blob = path.join(root, 'blobs/sha256', hex.slice(0, 2), hex);
    const link = path.join(root, 'repositories/bench', one.name, '_layers/sha256', hex);
    for (const place of [blob, link]) await mkdir(place, { recursive: true });
    await rename(scratch, path.join(blob, 'data'));
    await writeFile(path.join(link, 'link'), `sha256:${hex}`);
    layers.push({ mediaType: layerType, digest: `sha256:${hex}`, size: one.size });
  }
  const config = await registry.putBlob(
    `bench/${one.name}`,
    Buffer.from(
      JSON.stringify({
        ...{ os: 'linux', architecture: 'amd64' },
        rootfs: { type: 'layers', diff_ids: layers.map(({ digest }) => digest) },
      }),
    ),
    mediaTypes.ociConfig,
  );
  const mediaType = mediaTypes.ociManifest;
  await registry.putManifest(`bench/${one.name}`, 'latest', {
    ...{ schemaVersion: 2, mediaType, config, layers },
  });
}

async function measureCase(
  registry: TestRegistry,
  one: Case,
  options: { folder: string; runs: number },
): Promise<Row[]> {
  const tools = {
    curl: (folder: string) => curl(registry, one, folder, ''),
    'curl, verified and synced': (folder: string) => curl(registry, one, folder, verified),
    drayage: (folder: string, memory: boolean) => drayage(registry, one, folder, memory),
  };
  const results: Record<string, Measured[]> = {};
  // In turns, so that a change in the machine's mood meets them all. The first round samples memory and warms up.
  for (let round = 0; round <= options.runs; round++) {
    for (const [name, tool] of Object.entries(tools)) {
      await using disk = await mountDisk(options.folder);
      const measured = await tool(disk.folder, round === 0);
      results[name] = [...(results[name] ?? []), measured];
      console.error(`bench: ${one.title}, ${name}, round ${round}: ${measured.wall.toFixed(2)} s`);
    }
  }
  const timesOf = (name: string) => (results[name] ?? []).slice(1);
  return Object.keys(tools).map((name) => {
    const wall = median(timesOf(name).map((m) => m.wall));
    return {
      case: one.title,
      tool: name,
      wall_s: wall,
      cpu_s: median(timesOf(name).map((m) => m.cpu)),
      peak_mib: (results[name]?.[0]?.peak ?? Number.NaN) / 2 ** 20,
      // Of each round, since the machine is not the same in all.
      ratio_to_curl: median(
        timesOf(name).map((m, round) => m.wall / (timesOf('curl')[round]?.wall ?? Number.NaN)),
      ),
    };
  });
}

/** What a blob needs besides its bytes: its digest, by OpenSSL, and the disk. */
const verified = ' && openssl dgst -sha256 FILE && sync FILE';

/** As many curls as blobs, each into a file of its own. @param then what each does with its file after */
async function curl(
  registry: TestRegistry,
  one: Case,
  folder: string,
  then: string,
): Promise<Measured> {
  const base = `http://${registry.host}/v2/bench/${one.name}`;
  const answer = await fetch(`${base}/manifests/latest`, {
    headers: { accept: mediaTypes.ociManifest },
  });
  const { layers } = (await answer.json()) as { layers: { digest: string }[] };
  const each = layers.map(({ digest }, n) => {
    const file = path.join(folder, `${n}`);
    return `(curl -sf -o ${file} ${base}/blobs/${digest}${then.replaceAll('FILE', file)}) &`;
  });
  return await measure([], async () => {
    await run('bash', ['-c', `${each.join('\n')}\nwait`]);
  });
}

/** A pull to no node, by a fleet of one worker that is up already: from the request to the blobs' commit. */
async function drayage(
  registry: TestRegistry,
  one: Case,
  folder: string,
  memory: boolean,
): Promise<Measured> {
  await using fleet = await startFleet({
    env: {
      DRAY_STORE: `folder:${path.join(folder, 'content')}`,
      DRAY_WORKER_FETCHES: `${cases[0]?.blobs}`,
      // As the launcher starts it.
      MALLOC_ARENA_MAX: '1',
      NODE_OPTIONS: `--max-semi-space-size=1 ${process.env.BENCH_NODE_OPTIONS ?? ''}`,
    },
  });
  const worker = await fleet.startWorker('worker');
  await sleep(restMs);
  const measured = await measure(
    [worker.pid],
    async () => {
      const id = await fleet.pull({ reference: `${registry.host}/bench/${one.name}`, nodes: [] });
      const status = await fleet.ended(id, 600_000);
      if (status.state !== 'ready') throw new Error(JSON.stringify(status.error));
    },
    { memory },
  );
  await worker.stop();
  return measured;
}

function table(rows: Row[]): string {
  const lines = rows.map(
    (row) =>
      `| ${row.case} | ${row.tool} | ${row.wall_s.toFixed(2)} | ${row.cpu_s.toFixed(2)} | ${Number.isNaN(row.peak_mib) ? '' : row.peak_mib.toFixed(0)} | ${row.ratio_to_curl.toFixed(2)} |`,
  );
  return ['| blobs | tool | wall s | CPU s | peak MiB | to curl |', '|---|---|---|---|---|---|']
    .concat(lines)
    .join('\n');
}

await main().catch((error: unknown) => {
  console.error(error instanceof Error ? error.message : String(error));
  process.exitCode = 1;
});
