import { writeFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import type { Redis } from 'ioredis';
import { startRegistry } from '../../support/registry.ts';
import { startSlowLink } from '../../support/slow-link.ts';
import { commandCalls, peakMemory, type RedisUse, redisUse } from './redis-meter.ts';
import { pushNoise, startSimulatedFleet } from './simulated-fleet.ts';

const usage = `npm run bench:fleet -- [options]
  --nodes A,B       sizes of the fleet (default 10,100,1000)
  --pulls N         pulls of 100 images, by 100 nodes (default 10000; 0: not at all)
  --commands        says which commands Redis got
  --json FILE       writes the rows there as well`;

const layers = 8;
const layerBytes = 256 * 1024;
/** What comes from the registry: an image takes about 5 s. */
const bytesPerSecond = 400_000;
/** Milliseconds over which an idle fleet is watched: two heartbeats. */
const idleMs = 20_000;

const say = (line: string) => console.error(`bench: ${line}`);

interface NodeRow {
  nodes: number;
  seconds_until_all_ready: number;
  commands_per_node: number;
  redis_cpu_ms_per_node: number;
  traffic_kib_per_node: number;
  kib_per_node_registered: number;
  kib_per_node_of_pull: number;
  peak_kib_per_node: number;
  connections_per_node: number;
  idle_commands_per_node_and_second: number;
  idle_redis_cpu_percent: number;
}

interface PullRow {
  pulls: number;
  images: number;
  nodes: number;
  seconds: number;
  commands_per_pull: number;
  redis_cpu_ms_per_pull: number;
  kib_per_pull: number;
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      nodes: { type: 'string', default: '10,100,1000' },
      pulls: { type: 'string', default: '10000' },
      commands: { type: 'boolean', default: false },
      json: { type: 'string' },
      help: { type: 'boolean', short: 'h' },
    },
  });
  if (values.help) return console.log(usage);
  const rows: NodeRow[] = [];
  for (const nodes of values.nodes
    .split(',')
    .map(Number)
    .filter((count) => count > 0)) {
    rows.push(await measureNodes(nodes, values.commands));
    console.table(rows);
  }
  const pulls = Number(values.pulls);
  const many = pulls > 0 ? await measurePulls(pulls, values.commands) : undefined;
  if (many !== undefined) console.table([many]);
  if (values.json !== undefined) {
    await writeFile(values.json, `${JSON.stringify({ nodes: rows, pulls: many }, undefined, 2)}\n`);
  }
}

/** One image to all nodes of a fleet of that size, from a slow registry, followed as `dray pull` does. */
async function measureNodes(nodes: number, showsCommands: boolean): Promise<NodeRow> {
  await using registry = await startRegistry();
  await using link = await startSlowLink(registry.host, { bytesPerSecond });
  const reference = await pushNoise(registry.host, 'app', {
    ...{ layers, bytes: layerBytes, via: link.host },
  });
  await using simulated = await startSimulatedFleet();
  const { fleet, meter } = simulated;
  const empty = await redisUse(meter);
  say(`${nodes} nodes register`);
  await simulated.addNodes(nodes);
  const registered = await redisUse(meter);
  await sleep(idleMs);
  const idle = await redisUse(meter);
  say(`one image of ${layers} layers to ${nodes} nodes`);
  const callsBefore = await commandCalls(meter);
  const begun = performance.now();
  const [status, peak] = await peakMemory(
    meter,
    (async () => fleet.ended(await fleet.pull({ reference, nodes: simulated.nodes }), 600_000))(),
  );
  const seconds = (performance.now() - begun) / 1000;
  if (status.state !== 'ready') throw new Error(`the pull is ${status.state}`);
  const done = await redisUse(meter);
  if (showsCommands) await printCalls(meter, callsBefore, nodes);
  const idleRate = perSecond(registered, idle, idleMs / 1000);
  const kib = (bytes: number) => round(bytes / nodes / 1024);
  return {
    nodes,
    seconds_until_all_ready: round(seconds),
    commands_per_node: round((done.commands - idle.commands - idleRate.commands * seconds) / nodes),
    redis_cpu_ms_per_node: round(
      ((done.cpu - idle.cpu - idleRate.cpu * seconds) * 1000) / nodes,
      2,
    ),
    traffic_kib_per_node: kib(done.traffic - idle.traffic - idleRate.traffic * seconds),
    kib_per_node_registered: kib(registered.memory - empty.memory),
    kib_per_node_of_pull: kib(done.memory - idle.memory),
    peak_kib_per_node: kib(peak - empty.memory),
    connections_per_node: round((registered.connections - empty.connections) / nodes),
    idle_commands_per_node_and_second: round(idleRate.commands / nodes, 2),
    idle_redis_cpu_percent: round(idleRate.cpu * 100),
  };
}

/** Many pulls of some images, each to one node: each image is fetched once, all else is asked for again. */
async function measurePulls(pulls: number, showsCommands: boolean): Promise<PullRow> {
  const images = 100;
  const nodes = 100;
  await using registry = await startRegistry();
  say(`${images} images are pushed`);
  const references: string[] = [];
  for (let i = 0; i < images; i++) {
    const repository = `app-${i}`;
    references.push(await pushNoise(registry.host, repository, { layers, bytes: 4096 }));
  }
  await using simulated = await startSimulatedFleet();
  const { fleet, meter } = simulated;
  await simulated.addNodes(nodes);
  const registered = await redisUse(meter);
  await sleep(idleMs);
  const before = await redisUse(meter);
  const idleRate = perSecond(registered, before, idleMs / 1000);
  const callsBefore = await commandCalls(meter);
  say(`${pulls} pulls of ${images} images by ${nodes} nodes`);
  const begun = performance.now();
  const ids: string[] = [];
  const enqueue = async (lane: number) => {
    for (let i = lane; i < pulls; i += 10) {
      const reference = references[i % images] ?? '';
      const node = simulated.nodes[Math.floor(i / images) % nodes] ?? '';
      ids.push(await fleet.pull({ reference, nodes: [node] }));
    }
  };
  await Promise.all(Array.from({ length: 10 }, (_, lane) => enqueue(lane)));
  while ((await meter.zcard('{dray}:dray:open')) > 0) await sleep(200);
  const seconds = (performance.now() - begun) / 1000;
  const after = await redisUse(meter);
  if (showsCommands) await printCalls(meter, callsBefore, pulls);
  for (const id of ids) {
    const state = await meter.hget(`{dray}:dray:pull:${id}`, 'state');
    if (state !== 'ready') throw new Error(`pull ${id} is ${state}`);
  }
  return {
    ...{ pulls, images, nodes, seconds: round(seconds) },
    commands_per_pull: round(
      (after.commands - before.commands - idleRate.commands * seconds) / pulls,
    ),
    redis_cpu_ms_per_pull: round(
      ((after.cpu - before.cpu - idleRate.cpu * seconds) * 1000) / pulls,
      2,
    ),
    kib_per_pull: round((after.memory - before.memory) / pulls / 1024),
  };
}

function perSecond(from: RedisUse, to: RedisUse, seconds: number) {
  return {
    commands: (to.commands - from.commands) / seconds,
    cpu: (to.cpu - from.cpu) / seconds,
    traffic: (to.traffic - from.traffic) / seconds,
  };
}

async function printCalls(redis: Redis, before: Map<string, number>, by: number): Promise<void> {
  const calls = [...(await commandCalls(redis))]
    .map(([name, count]) => [name, (count - (before.get(name) ?? 0)) / by] as const)
    .filter(([, count]) => count >= 0.05)
    .sort(([, a], [, b]) => b - a);
  say(calls.map(([name, count]) => `${name} ${count.toFixed(1)}`).join(', '));
}

function round(value: number, digits = 1): number {
  return Number(value.toFixed(digits));
}

await main();
