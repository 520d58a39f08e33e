import type { PartStatus } from '../embedded/status.ts';
import type { Context } from './context.ts';
import { countWorkers } from './count-workers.ts';
import { formatAge, formatTable, type OutputForm, printValue } from './output.ts';

/** Milliseconds for each look at a part elsewhere. */
const lookBound = 3_000;

/** Prints how the fleet of this configuration is. @returns whether all is well */
export async function printStatus(
  context: Context,
  options: { output: OutputForm },
): Promise<boolean> {
  const { config } = context;
  const now = new Date();
  const parts = config.embedded
    ? await (await import('../embedded/status.ts')).embeddedStatus(config)
    : await remoteStatus(context, now);
  const store =
    config.store.kind === 'folder'
      ? `folder ${config.store.path}`
      : `s3 ${config.store.bucket}/${config.store.prefix}`;
  const { embedded, stateDirectory } = config;
  printValue({ embedded, stateDirectory, store, parts }, options.output, () => {
    const title = embedded ? `embedded fleet in ${stateDirectory}` : 'fleet';
    const table = formatTable(
      ['PART', 'STATE', 'PID', 'STARTED', 'HEALTH'],
      parts.map((part) => [
        part.name,
        part.state,
        part.pid === undefined ? '-' : String(part.pid),
        part.since === undefined ? '-' : formatAge(part.since, now),
        part.health,
      ]),
    );
    return `${title}, content store: ${store}\n${table}`;
  });
  if (config.embedded && parts.some(({ state }) => state === 'stopped')) {
    const all = parts.every(({ state }) => state === 'stopped');
    process.stderr.write(`${all ? 'start it' : 'start again what has stopped'} with: dray up\n`);
  }
  return parts.every(({ healthy }) => healthy);
}

/** The Redis of a configured fleet, its workers, the nodes that registered, and the agent of this machine if there is one. */
async function remoteStatus(context: Context, now: Date): Promise<PartStatus[]> {
  const { config } = context;
  const { redactUrl, redisFailure } = await import('../../shared/queue/connection.ts');
  const { checkServer } = await import('../../shared/queue/server-check.ts');
  const { listNodes } = await import('../../shared/node/registry.ts');
  const parts: PartStatus[] = [];
  await using queue = await context.openQueue();
  const name = 'redis';
  try {
    const begun = performance.now();
    await bounded(queue.redis.ping());
    const health = `PONG in ${(performance.now() - begun).toFixed(1)} ms, ${redactUrl(config.redis.url)}`;
    const { warnings } = await bounded(checkServer(queue.redis));
    parts.push({ name, state: 'running', healthy: true, health: [health, ...warnings].join('; ') });
    const workers = await bounded(countWorkers(queue.redis, config.redis.prefix));
    if (workers !== undefined) parts.push(workersPart(workers));
    for (const node of await bounded(listNodes(queue.redis, config.redis.prefix))) {
      const lost = node.state === 'lost';
      parts.push({
        name: `node ${node.name}`,
        state: lost ? 'lost' : 'running',
        healthy: !lost,
        health: [
          `seen ${formatAge(node.seenAt, now)}`,
          ...[node.platform, node.version, ...(node.mark === undefined ? [] : [node.mark])],
          ...node.problems,
        ].join(', '),
      });
    }
  } catch (error) {
    const health = `${redactUrl(config.redis.url)}: ${redisFailure(error, queue.redis)}`;
    parts.push({ name, state: 'unreachable', healthy: false, health });
  }
  const agent = await context.agentIfAny();
  if (agent !== undefined) {
    const { node, version } = await agent.health();
    const health = `node ${node}, ${version}, ${config.agent.socket}`;
    parts.push({ name: 'agent here', state: 'running', healthy: true, health });
  }
  return parts;
}

function workersPart(count: number): PartStatus {
  const name = 'workers';
  if (count > 0) {
    const health = count === 1 ? 'one takes jobs' : `${count} take jobs`;
    return { name, state: 'running', healthy: true, health };
  }
  const health = 'no pull goes on until one runs: dray worker';
  return { name, state: 'stopped', healthy: false, health };
}

async function bounded<T>(work: Promise<T>): Promise<T> {
  const { promise, reject } = Promise.withResolvers<never>();
  const timer = setTimeout(
    () => reject(new Error(`no answer in ${lookBound / 1000} s`)),
    lookBound,
  );
  try {
    return await Promise.race([work, promise]);
  } finally {
    clearTimeout(timer);
  }
}
