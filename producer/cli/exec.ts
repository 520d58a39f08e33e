import { PassThrough } from 'node:stream';
import type { Command } from 'commander';
import type { ExecRequest, ExitMessage } from '../../shared/agent/exec.ts';
import { encodeControl, type Frame } from '../../shared/agent/frames.ts';
import { DrayError } from '../../shared/errors.ts';
import { openContext } from './context.ts';
import { commandFailed, exitCodes } from './errors.ts';
import { writeOut } from './foreground.ts';
import { environmentOf, parseWorkdir } from './run/environment.ts';
import { lendTerminal, ownTerminalSize, sendInput, sendSignals } from './terminal.ts';

export interface ExecOptions {
  interactive?: boolean;
  tty?: boolean;
  detach?: boolean;
  env?: string[];
  envFile?: string[];
  workdir?: string;
  user?: string;
}

/** `dray exec`. @returns the exit code of the command, see its help */
export async function execCommand(
  command: Command,
  id: string,
  args: string[],
  options: ExecOptions,
): Promise<number> {
  try {
    const request = await requestOf(args, options);
    const client = await (await openContext(command)).agent();
    const input = new PassThrough();
    const frames = await client.containers.exec(id, request, input);
    return await converse(frames, input, request);
  } catch (error) {
    throw commandFailed(error);
  }
}

async function requestOf(args: string[], options: ExecOptions): Promise<ExecRequest> {
  const { interactive, tty, detach, workdir, user } = options;
  const env = await environmentOf(options, process.env);
  return {
    args,
    ...(env.length === 0 ? {} : { env }),
    ...(workdir === undefined ? {} : { workingDirectory: parseWorkdir(workdir) }),
    ...(user === undefined ? {} : { user }),
    ...(detach === true
      ? { detach }
      : {
          ...(tty === true ? { terminal: ownTerminalSize() } : {}),
          ...(interactive === true ? { stdin: true } : {}),
        }),
  };
}

async function converse(
  frames: AsyncIterable<Frame>,
  input: PassThrough,
  request: ExecRequest,
): Promise<number> {
  using stack = new DisposableStack();
  const detached = new AbortController();
  if (request.stdin === true) {
    const detach = () => {
      input.end(encodeControl({ detach: true }));
      detached.abort();
    };
    stack.use(request.terminal === undefined ? sendInput(input) : lendTerminal(input, detach));
  }
  if (request.terminal === undefined) stack.use(sendSignals(input));
  for await (const { kind, bytes } of frames) {
    if (kind === 'control') {
      const { exit } = JSON.parse(Buffer.from(bytes).toString()) as ExitMessage;
      return exit.exitCode;
    }
    if (kind !== 'stdin' && !(await writeOut(process[kind], bytes))) return exitCodes.brokenPipe;
  }
  if (detached.signal.aborted) return exitCodes.ok;
  throw new DrayError('AGENT_UNAVAILABLE', 'The agent ended the connection before the command did');
}
