import { setTimeout as sleep } from 'node:timers/promises';
import type { Redis } from 'ioredis';

/** What a Redis has done and has, at a time. */
export interface RedisUse {
  /** Commands, those inside scripts too. */
  commands: number;
  /** Seconds of CPU. */
  cpu: number;
  /** Bytes that it has allocated. */
  memory: number;
  connections: number;
  /** Bytes on its connections, in and out. */
  traffic: number;
}

export async function redisUse(redis: Redis): Promise<RedisUse> {
  const info = await redis.info('everything');
  const value = (name: string) => Number(new RegExp(`^${name}:([\\d.]+)`, 'm').exec(info)?.[1]);
  const calls = [...info.matchAll(/^cmdstat_[^:]+:calls=(\d+)/gm)].map((match) => Number(match[1]));
  return {
    commands: calls.reduce((sum, each) => sum + each, 0),
    cpu: value('used_cpu_user') + value('used_cpu_sys'),
    memory: value('used_memory'),
    connections: value('connected_clients'),
    traffic: value('total_net_input_bytes') + value('total_net_output_bytes'),
  };
}

/** Commands by their names, those that were called most first. */
export async function commandCalls(redis: Redis): Promise<Map<string, number>> {
  const info = await redis.info('commandstats');
  const calls = [...info.matchAll(/^cmdstat_([^:]+):calls=(\d+)/gm)];
  return new Map(calls.map(([, name = '', count]) => [name, Number(count)]));
}

/** The most memory that Redis had while something ran. */
export async function peakMemory<T>(redis: Redis, work: Promise<T>): Promise<[T, number]> {
  let peak = 0;
  let done = false;
  const result = work.finally(() => {
    done = true;
  });
  const watching = (async () => {
    while (!done) {
      peak = Math.max(peak, (await redisUse(redis)).memory);
      await sleep(250);
    }
  })();
  const value = await result;
  await watching;
  return [value, peak];
}
