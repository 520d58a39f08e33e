import { setTimeout as sleep } from 'node:timers/promises';
import type {
  ContainerExit,
  LogRequest,
  OutputChunk,
  OutputStream,
} from '../../shared/agent/containers.ts';
import { DrayError, errnoOf } from '../../shared/errors.ts';
import type { AgentClient } from '../agent/client.ts';
import type { StartedContainer } from '../agent/containers.ts';
import { outputError } from './errors.ts';

/** Milliseconds for which an agent that went away is waited for: its container runs on. */
const absenceBound = 60_000;
const retryInterval = 500;

/** Signals that mean the container when they reach the command that runs it. */
const passedOn = ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT', 'SIGUSR1', 'SIGUSR2'] as const;

export interface FollowOptions {
  /** Finds the agent, and starts it again where that is this command's business. */
  connect: () => Promise<AgentClient>;
  /** Says something to the person who looks. */
  say?: (message: string) => void;
  signal?: AbortSignal;
  /** Its output as its start has opened it. */
  started?: Pick<StartedContainer, 'from' | 'output'>;
  /** What of the output is wanted; default: all, up to its end. */
  request?: LogRequest;
}

/**
 * The output of a container up to its end, each byte once, also when its agent is replaced meanwhile.
 * The log is open once the first value (undefined) has come: nothing is lost from then on.
 */
export async function* followOutput(
  id: string,
  options: FollowOptions,
): AsyncGenerator<OutputChunk | undefined> {
  const delivered: Record<OutputStream, number> = { stdout: 0, stderr: 0 };
  let request: LogRequest = { follow: true, ...options.request };
  for (let attempt = 0; ; attempt++) {
    const skip = { ...delivered };
    try {
      const read = (client: AgentClient) =>
        client.containers.logs(id, { ...request, ...signalOf(options) });
      const logs = await (attempt > 0
        ? withAgent(options, read)
        : (options.started ?? options.connect().then(read)));
      if (attempt === 0) yield undefined;
      const { since: _since, tail: _tail, ...rest } = request;
      request = { ...rest, from: logs.from };
      for await (const { stream, bytes } of logs.output) {
        const seen = Math.min(skip[stream], bytes.length);
        skip[stream] -= seen;
        if (seen === bytes.length) continue;
        delivered[stream] += bytes.length - seen;
        yield { stream, bytes: bytes.subarray(seen) };
      }
      return;
    } catch (error) {
      if (!(error instanceof DrayError)) throw error;
      // Removed once it had ended, while no agent was there to tell.
      if (error.code === 'NOT_FOUND' && attempt > 0) return;
      if (error.code !== 'AGENT_UNAVAILABLE') throw error;
      options.say?.(`The agent went away; container ${id} runs on. Waiting for the agent …`);
    }
  }
}

/** Waits for the end of a container, also when its agent is replaced meanwhile. */
export async function waitForEnd(id: string, options: FollowOptions): Promise<ContainerExit> {
  for (;;) {
    try {
      return await withAgent(options, (client) => client.containers.wait(id, signalOf(options)));
    } catch (error) {
      if (!(error instanceof DrayError) || error.code !== 'AGENT_UNAVAILABLE') throw error;
    }
  }
}

/** Calls the agent; one that is not there is waited for, within a bound. */
export async function withAgent<T>(
  { connect, signal }: FollowOptions,
  call: (client: AgentClient) => Promise<T>,
): Promise<T> {
  const bound = Date.now() + absenceBound;
  for (;;) {
    signal?.throwIfAborted();
    try {
      return await call(await connect());
    } catch (error) {
      const isAway = error instanceof DrayError && error.code === 'AGENT_UNAVAILABLE';
      if (!isAway || Date.now() > bound) throw error;
      await sleep(retryInterval, undefined, signal === undefined ? {} : { signal });
    }
  }
}

/**
 * Passes this process's signals on to a container until it is disposed. The second SIGINT kills: what
 * runs as the first process of a container ignores SIGINT unless it handles it.
 */
export function passSignals(
  id: string,
  options: FollowOptions & { onError: (error: unknown) => void },
): Disposable {
  let interrupts = 0;
  const handlers = passedOn.map((name) => {
    const handler = () => {
      if (name === 'SIGINT') interrupts++;
      const sent = name === 'SIGINT' && interrupts > 1 ? 'SIGKILL' : name;
      options
        .connect()
        .then((client) => client.containers.kill(id, sent, signalOf(options)))
        .catch((error: unknown) => {
          // It has just ended.
          if (!(error instanceof DrayError && error.code === 'CONFLICT')) options.onError(error);
        });
    };
    process.on(name, handler);
    return () => process.off(name, handler);
  });
  return {
    [Symbol.dispose]: () => {
      for (const remove of handlers) remove();
    },
  };
}

/** Streams that are listened to: Node tells of a broken pipe once more after a write's callback. */
const watched = new WeakSet<NodeJS.WriteStream>();

/**
 * Writes with back pressure.
 * @returns false when nobody reads any more
 * @throws NO_SPACE, INTERNAL when it can't be written
 */
export async function writeOut(stream: NodeJS.WriteStream, bytes: Uint8Array): Promise<boolean> {
  if (stream.destroyed) return false;
  if (!watched.has(stream)) {
    watched.add(stream);
    stream.on('error', () => {});
  }
  try {
    await new Promise<void>((resolve, reject) => {
      stream.write(bytes, (error) => (error ? reject(error) : resolve()));
    });
    return true;
  } catch (error) {
    if (errnoOf(error) === 'EPIPE' || errnoOf(error) === 'ERR_STREAM_DESTROYED') return false;
    throw outputError(error);
  }
}

function signalOf({ signal }: FollowOptions): { signal?: AbortSignal } {
  return signal === undefined ? {} : { signal };
}
