/**
 * Many simulated nodes in one process: `node agents.ts FIRST COUNT`. Each has the connections, the queue and the
 * heartbeat of a real one. Says "ready" on standard output, and ends with its standard input.
 */
import { once, setMaxListeners } from 'node:events';
import { loadConfig } from '../../../shared/config/load.ts';
import { openStore } from '../../../shared/content/open.ts';
import { formatPlatform, hostPlatform } from '../../../shared/image/platform.ts';
import { createLogger } from '../../../shared/logging.ts';
import { connectRedis } from '../../../shared/queue/connection.ts';
import { takeJobs } from '../../../worker/agent/take-jobs.ts';
import { simulatedMeasures, simulatedNode } from './simulated-node.ts';

/** Milliseconds that a layer takes, once its bytes are there. */
const applyMs = 800;

const [first = 0, count = 1] = process.argv.slice(2).map(Number);
const config = loadConfig();
const log = await createLogger('agent', config.log.level);
const stop = new AbortController();
// Every node listens.
setMaxListeners(0, stop.signal);
await using cleanUp = new AsyncDisposableStack();
const store = cleanUp.use(await openStore(config.store));

async function start(name: string): Promise<void> {
  const redis = connectRedis(config.redis, { name: `agent-${name}`, patient: true });
  cleanUp.defer(() => redis.disconnect());
  const { prefix } = config.redis;
  await takeJobs(
    { name, platform: formatPlatform(hostPlatform()), version: 'simulated', labels: {} },
    {
      ...simulatedNode({ applyMs }),
      ...simulatedMeasures(),
      redis,
      prefix,
      store,
      log,
      stopping: stop.signal,
      cleanUp,
    },
  );
}

await Promise.all(Array.from({ length: count }, (_, i) => start(`n${first + i}`)));
process.stdout.write('ready\n');
process.stdin.resume();
await once(process.stdin, 'end');
// What they were doing is nobody's any more.
process.exit(0);
