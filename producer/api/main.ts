/** The program `dray serve`: the HTTP API. */
import { readFileSync } from 'node:fs';
import type { Server } from 'node:https';
import { followCertificates } from '../../shared/access/tls.ts';
import { TokenFile } from '../../shared/access/tokens.ts';
import type { Config } from '../../shared/config/config.ts';
import { loadConfig } from '../../shared/config/load.ts';
import { openStore } from '../../shared/content/open.ts';
import { DrayError, errnoOf, messageOf } from '../../shared/errors.ts';
import { runProgram } from '../../shared/program.ts';
import { Pulls } from '../../shared/pull/pulls.ts';
import { PullRecords } from '../../shared/pull/records.ts';
import { PullSummaries } from '../../shared/pull/summary.ts';
import { connectRedis } from '../../shared/queue/connection.ts';
import { JobQueues } from '../../shared/queue/jobs.ts';
import { warnOfServer } from '../../shared/queue/server-check.ts';
import { ImageFacts } from './image-facts.ts';
import { measureFleet } from './metrics.ts';
import { createApiServer } from './server.ts';

const config = loadConfig();
const { version } = JSON.parse(
  readFileSync(new URL('../../package.json', import.meta.url), 'utf8'),
) as { version: string };

await runProgram(config, 'serve', async ({ log, stopping, cleanUp }) => {
  const { host, port } = listenAddress(config);
  const tokens = tokensFor(config, host);
  const redis = connectRedis(config.redis, {
    name: 'api',
    patient: true,
    gathers: true,
  });
  cleanUp.defer(() => redis.disconnect());
  const store = cleanUp.use(await openStore(config.store, { signal: stopping }));
  const { prefix } = config.redis;
  const queues = cleanUp.use(new JobQueues(redis, prefix));
  const records = new PullRecords(redis, prefix);
  const server = await createApiServer({
    ...{ config, version, redis, store, queues, log, tokens },
    pulls: new Pulls(redis, prefix),
    facts: new ImageFacts(store),
    summaries: new PullSummaries(redis, prefix),
    records,
  });
  cleanUp.defer(() => server.close());
  try {
    const address = await server.listen({ host, port });
    const { tls } = config.api;
    if (tls !== undefined) {
      cleanUp.defer(followCertificates(server.server as Server, tls, log));
    }
    measureFleet({ redis, queues, records, config });
    warnOfServer(redis, log).catch((error: unknown) => log.debug({ err: error }, 'asking Redis'));
    log.info(
      { tokens: tokens.isThere ? config.api.tokens : 'none: for this machine alone' },
      `API: ${address}/v1   dashboard: ${address}/   what the API can do: ${address}/openapi.json`,
    );
  } catch (error) {
    throw new DrayError('USAGE', `${config.api.listen} can't be listened on: ${messageOf(error)}`, {
      hint:
        errnoOf(error) === 'EADDRINUSE'
          ? 'Another program has it. Choose another address with DRAY_API_LISTEN.'
          : 'Choose another address with DRAY_API_LISTEN.',
      cause: error,
    });
  }
  return { isAlive: () => true, isReady: () => redis.status === 'ready' };
});

function listenAddress({ api }: Config): { host: string; port: number } {
  const colon = api.listen.lastIndexOf(':');
  const host = api.listen.slice(0, colon).replaceAll(/[[\]]/g, '');
  return { host, port: Number(api.listen.slice(colon + 1)) };
}

/** Who reaches loopback is on this machine; anybody else has to show a token. @throws USAGE */
function tokensFor({ api }: Config, host: string): TokenFile {
  const tokens = new TokenFile(api.tokens);
  if (tokens.isThere || host === 'localhost' || host === '::1' || /^127\./.test(host)) {
    return tokens;
  }
  throw new DrayError('USAGE', `The API would be open to everybody who reaches ${api.listen}`, {
    hint: `Make a token first, in ${api.tokens}: dray token create NAME --scope pull`,
  });
}
