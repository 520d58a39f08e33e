import { isFinished, type PullStatus } from '../../shared/pull/status.ts';
import type { AgentClient } from '../agent/client.ts';
import type { Context, QueueConnection } from './context.ts';

/** Who tells how a pull goes on. What enqueues and reads the queue is loaded only where the agent does not do it. */
export interface PullSource {
  /** A pull each time that it has changed, until it has ended. @throws QUEUE_UNAVAILABLE, or the signal's reason */
  watch(id: string, options: { signal: AbortSignal }): AsyncIterable<PullStatus>;
  /** Why Redis takes no work; undefined when it does. */
  trouble(): Promise<string | undefined>;
}

/** Redis itself. */
export function fromQueue({ config }: Context, { redis }: QueueConnection): PullSource {
  return {
    async *watch(id, options) {
      const [{ Pulls }, { queueError }] = await Promise.all([
        import('../../shared/pull/pulls.ts'),
        import('../../shared/queue/connection.ts'),
      ]);
      try {
        yield* new Pulls(redis, config.redis.prefix).watch(id, options);
      } catch (error) {
        options.signal.throwIfAborted();
        throw queueError(error, config.redis, redis);
      }
    },
    async trouble() {
      try {
        // A Redis that can't write what it is told answers this with an error.
        await redis.ping();
        return undefined;
      } catch (error) {
        const { redisFailure } = await import('../../shared/queue/connection.ts');
        return redisFailure(error, redis);
      }
    },
  };
}

/** The agent of this machine; Redis, once the agent says no more. */
export function fromAgent(context: Context, agent: AgentClient): PullSource {
  return {
    async *watch(id, options) {
      try {
        for await (const status of agent.watchPull(id, options)) {
          yield status;
          if (isFinished(status.state)) return;
        }
      } catch {
        options.signal.throwIfAborted();
      }
      await using queue = await context.openQueue();
      yield* fromQueue(context, queue).watch(id, options);
    },
    async trouble() {
      await using queue = await context.openQueue();
      return await fromQueue(context, queue).trouble();
    },
  };
}
