import { PassThrough } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import type { ContainerStatus } from '../../shared/agent/containers.ts';
import { encodeControl } from '../../shared/agent/frames.ts';
import { asDrayError, DrayError } from '../../shared/errors.ts';
import type { StartedContainer } from '../agent/containers.ts';
import { exitCodes } from './errors.ts';
import {
  type FollowOptions,
  followOutput,
  passSignals,
  waitForEnd,
  withAgent,
  writeOut,
} from './foreground.ts';
import { lendTerminal, sendInput } from './terminal.ts';

/** Milliseconds in which a program notices the size of its window. */
const redrawPause = 100;

export interface AttachOptions extends FollowOptions {
  /** Whether the container has a terminal, which is then this one. */
  terminal: boolean;
  /** Whether standard input is passed on. */
  stdin: boolean;
  /** Whether signals are passed on, where there is no terminal. */
  signals: boolean;
  /** It was just started. */
  started?: StartedContainer;
  /** Called once signals are heard here. */
  onListening?: () => void;
  /** Aborted when it is left; what of its output is read already must end then. */
  leave?: AbortController;
}

/**
 * Shows a container's output here and passes input and signals on, until it has ended. A terminal goes on when
 * its agent is replaced meanwhile.
 * @returns its exit code; 0 when it was left
 */
export async function attachTo(id: string, options: AttachOptions): Promise<number> {
  const { leave = new AbortController() } = options;
  // On a terminal that is lent a newline alone goes straight down, from wherever the program inside has left off.
  const say = (text: string) => options.say?.(options.terminal ? `\r\n${text}\r` : text);
  const follow = { ...options, say, signal: leave.signal };
  const output = followOutput(id, follow);
  await output.next();
  using stack = new DisposableStack();
  if (options.stdin) stack.use(passInput(id, follow, options.terminal, leave));
  // Keys of a terminal that is lent are no signals here.
  if (options.signals && !(options.terminal && options.stdin)) {
    stack.use(
      passSignals(id, {
        ...options,
        onError: (error) => process.stderr.write(`${asDrayError(error).message}\n`),
      }),
    );
  }
  options.onListening?.();
  try {
    for await (const chunk of output) {
      if (chunk === undefined) continue;
      const isRead = await writeOut(process[chunk.stream], chunk.bytes).catch((error: unknown) => {
        process.stderr.write(`Container ${id} runs on: dray logs -f ${id}\n`);
        throw error;
      });
      if (!isRead) {
        process.stderr.write(
          `Nobody reads the output; container ${id} runs on: dray logs -f ${id}\n`,
        );
        await output.return(undefined);
        return exitCodes.brokenPipe;
      }
    }
  } catch (error) {
    if (!leave.signal.aborted) throw error;
    if (leave.signal.reason instanceof DrayError) throw leave.signal.reason;
    stack.dispose();
    process.stderr.write(`\nContainer ${id} runs on: dray attach ${id}\n`);
    return exitCodes.ok;
  }
  const { exitCode, error } = options.started?.exit() ?? (await waitForEnd(id, options));
  if (error !== undefined) process.stderr.write(`${error}\n`);
  return exitCode;
}

/** @throws CONFLICT */
export function requireRunning(status: ContainerStatus): ContainerStatus {
  if (status.state === 'running' || status.state === 'paused') return status;
  throw new DrayError('CONFLICT', `Container ${status.id} is ${status.state}`, {
    hint: `Its output: dray logs ${status.id}. Start it: dray start ${status.id}`,
  });
}

/** Passes standard input on until it is disposed; leaves when the keys for that are pressed. */
function passInput(
  id: string,
  options: FollowOptions,
  isTerminal: boolean,
  leave: AbortController,
): Disposable {
  const keys = new PassThrough();
  const closed = new AbortController();
  const own = isTerminal ? lendTerminal(keys, () => leave.abort()) : sendInput(keys);
  const sending = isTerminal
    ? sendToTerminal(id, keys, { ...options, signal: closed.signal })
    : sendOnce(id, keys, { ...options, signal: closed.signal });
  sending.catch((error: unknown) => {
    // The container has ended: its output says what is to be said.
    const isOver = error instanceof DrayError && ['CONFLICT', 'NOT_FOUND'].includes(error.code);
    if (!closed.signal.aborted && !isOver) leave.abort(error);
  });
  return {
    [Symbol.dispose]: () => {
      closed.abort();
      own[Symbol.dispose]();
    },
  };
}

/** What is typed goes to whatever agent there is; while there is none it waits. */
async function sendToTerminal(
  id: string,
  keys: PassThrough,
  options: FollowOptions,
): Promise<void> {
  for (let attempt = 0; ; attempt++) {
    const { input, answer } = await withAgent(options, async (client) => {
      const input = new PassThrough();
      return { input, answer: await client.containers.input(id, input, signalOf(options)) };
    });
    keys.pipe(input);
    const sized = sendSize(input, attempt > 0 || options.request?.tail !== undefined);
    try {
      for await (const _ of answer);
      return;
    } catch (error) {
      if (!(error instanceof DrayError) || error.code !== 'AGENT_UNAVAILABLE') throw error;
    } finally {
      keys.unpipe(input);
      await sized;
    }
  }
}

/** @param anew another size for a moment makes a program draw its screen, for who comes later */
async function sendSize(input: PassThrough, anew: boolean): Promise<void> {
  const { columns, rows } = process.stdout;
  if (anew) {
    input.write(encodeControl({ resize: { columns, rows: rows + 1 } }));
    await sleep(redrawPause);
  }
  if (input.writable) input.write(encodeControl({ resize: { columns, rows } }));
}

/** Bytes of a pipe that an agent took with it are lost, so that there is only one attempt. */
async function sendOnce(id: string, input: PassThrough, options: FollowOptions): Promise<void> {
  const client = await options.connect();
  try {
    for await (const _ of await client.containers.input(id, input, signalOf(options)));
  } catch (error) {
    if (!(error instanceof DrayError) || error.code !== 'AGENT_UNAVAILABLE') throw error;
    throw new DrayError('AGENT_UNAVAILABLE', `The agent went away while container ${id} was fed`, {
      hint: `It got only a part of the input. See what it does: dray logs -f ${id}`,
      cause: error,
    });
  }
}

function signalOf({ signal }: FollowOptions): { signal?: AbortSignal } {
  return signal === undefined ? {} : { signal };
}
