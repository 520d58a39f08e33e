import { execFile } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { availableParallelism, cpus, release, tmpdir } from 'node:os';
import path from 'node:path';
import { parseArgs, promisify } from 'node:util';
import { startRegistry } from '../support/registry.ts';
import { parseRuns, requireMounts } from './arguments.ts';
import { mountDisk } from './disk.ts';
import {
  type BenchImage,
  cacheFolder,
  ensureImages,
  type ImageName,
  imageNames,
} from './images.ts';
import type { Measured } from './meter.ts';
import { caption, median, type Row, table } from './table.ts';
import { floorName, peerName, type Tool, tools } from './tools.ts';

const usage = `npm run bench -- [options]
  --runs N          timed runs of each image and tool (default 5)
  --images A,B      of ${imageNames.join(', ')} (default all)
  --tools A,B       of ${tools.map(({ name }) => name).join(', ')} (default all)
  --json FILE       writes the rows there as well`;

const say = (line: string) => console.error(`bench: ${line}`);
let interrupted = false;
process.on('SIGINT', () => {
  // The command that runs gets the signal too; what was mounted and started is put away on the way out.
  interrupted = true;
});

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      runs: { type: 'string', default: '5' },
      images: { type: 'string', default: imageNames.join(',') },
      tools: { type: 'string', default: tools.map(({ name }) => name).join(',') },
      json: { type: 'string' },
      help: { type: 'boolean', short: 'h' },
    },
  });
  if (values.help) return console.log(usage);
  requireMounts();
  const runs = parseRuns(values.runs);
  const names = choose<ImageName>(values.images, imageNames);
  const chosen = choose(
    values.tools,
    tools.map(({ name }) => name),
  ).flatMap((name) => tools.find((tool) => tool.name === name) ?? []);

  const folder = await mkdtemp(path.join(tmpdir(), 'dray-bench-'));
  try {
    const cache = await cacheFolder();
    await using registry = await startRegistry({ data: path.join(cache, 'registry') });
    const images = await ensureImages(registry.host, cache, names, say);
    const rows: Row[] = [];
    for (const image of images) {
      rows.push(...(await measureImage(image, chosen, { host: registry.host, folder, runs })));
    }
    console.log(`${await machine()}; median of ${runs}`);
    for (const image of images) console.log(caption(image));
    console.log(`\n${table(rows)}`);
    if (values.json !== undefined) {
      await writeFile(values.json, `${JSON.stringify(rows, undefined, 2)}\n`);
    }
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

async function measureImage(
  image: BenchImage,
  chosen: readonly Tool[],
  options: { host: string; folder: string; runs: number },
): Promise<Row[]> {
  const { host, folder, runs } = options;
  const reference = `${host}/bench/${image.name}:latest`;
  const results = new Map<Tool, Measured[]>(chosen.map((tool) => [tool, []]));
  // The tools take turns, so that a change in the machine's mood meets them all. The first round samples
  // memory, and warms the page cache for the timed ones.
  for (let round = 0; round <= runs; round++) {
    for (const tool of chosen) {
      if (interrupted) throw new Error('interrupted');
      await using disk = await mountDisk(folder);
      const measured = await tool.pull(reference, path.join(disk.folder), { memory: round === 0 });
      results.get(tool)?.push(measured);
      const what = round === 0 ? 'warm-up' : `run ${round}`;
      say(`${image.name}, ${tool.name}, ${what}: ${measured.wall.toFixed(2)} s`);
    }
  }
  const medians = [...results].map(([tool, measured]) => {
    const timed = measured.slice(1);
    return {
      name: tool.name,
      wall: median(timed.map(({ wall }) => wall)),
      cpu: median(timed.map(({ cpu }) => cpu)),
      peak: measured[0]?.peak ?? Number.NaN,
    };
  });
  const wallOf = (name: string) => medians.find((tool) => tool.name === name)?.wall ?? Number.NaN;
  return medians.map(({ name, wall, cpu, peak }) => ({
    image: image.name,
    tool: name,
    wall_s: round(wall, 3),
    cpu_s: round(cpu, 2),
    peak_mib: round(peak / 2 ** 20, 1),
    ratio_to_peer: round(wall / wallOf(peerName), 3),
    ratio_to_floor: round(wall / wallOf(floorName), 3),
  }));
}

async function machine(): Promise<string> {
  const { stdout } = await promisify(execFile)('containerd', ['--version']);
  const [, , version] = stdout.trim().split(' ');
  const [cpu] = cpus();
  return `${availableParallelism()} × ${cpu?.model ?? 'unknown'}, Linux ${release()}, containerd ${version}`;
}

function choose<T extends string>(list: string, known: readonly T[]): T[] {
  return list.split(',').map((name) => {
    const found = known.find((candidate) => candidate === name);
    if (found === undefined) throw new Error(`"${name}" is none of ${known.join(', ')}`);
    return found;
  });
}

function round(value: number, digits: number): number {
  return Number(value.toFixed(digits));
}

await main().catch((error: unknown) => {
  say(error instanceof Error ? error.message : String(error));
  process.exitCode = 1;
});
