import type { Config } from '../../shared/config/config.ts';
import { messageOf } from '../../shared/errors.ts';
import { AgentClient } from '../agent/client.ts';
import { isUp } from './fleet.ts';
import { type Part, partsOf, redisSocket, runningPart } from './parts.ts';
import { pingRedis } from './ping.ts';
import { startedAt } from './process-identity.ts';

/** How a part of a fleet is. */
export interface PartStatus {
  name: string;
  state: 'running' | 'starting' | 'stopped' | 'lost' | 'unreachable';
  pid?: number;
  since?: Date;
  healthy: boolean;
  /** For people. */
  health: string;
}

/** Milliseconds in which an agent says how it is. */
const healthBound = 3_000;

/** Every part of the embedded fleet, as it is: each is asked, none is started. */
export async function embeddedStatus(config: Config): Promise<PartStatus[]> {
  return await Promise.all(
    partsOf(config).map(async (part) => {
      const running = runningPart(part);
      if (running === undefined) {
        return { name: part.name, state: 'stopped', healthy: false, health: '-' } as const;
      }
      const common = { name: part.name, pid: running.pid, since: startedAt(running) };
      if (!isUp(part)) {
        const health = `does not take work yet, see ${part.logFile}`;
        return { ...common, state: 'starting', healthy: false, health } as const;
      }
      return { ...common, state: 'running', ...(await healthOf(part, config)) } as const;
    }),
  );
}

async function healthOf(
  part: Part,
  config: Config,
): Promise<Pick<PartStatus, 'healthy' | 'health'>> {
  if (part.name === 'redis') {
    const answer = await pingRedis(redisSocket(config));
    if (typeof answer === 'string') return { healthy: false, health: answer };
    return { healthy: true, health: `PONG in ${answer.toFixed(1)} ms` };
  }
  if (part.name === 'worker') return { healthy: true, health: 'takes jobs' };
  try {
    const client = new AgentClient({ socketPath: config.agent.socket });
    const { node, version } = await client.health({ signal: AbortSignal.timeout(healthBound) });
    return { healthy: true, health: `takes jobs, node ${node}, ${version}` };
  } catch (error) {
    return { healthy: false, health: messageOf(error) };
  }
}
