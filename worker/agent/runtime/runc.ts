import { DrayError, messageOf } from '../../../shared/errors.ts';
import { runProgram } from '../linux/run-program.ts';

/** Milliseconds for one call of the runtime: it only talks to the kernel. */
const callBound = 60_000;
/** Milliseconds for which freezing a container is tried. */
const freezeBound = 10_000;

export interface CallOptions {
  signal?: AbortSignal;
}

/** What the runtime knows of a container (runtime-spec, runtime.md#state). */
export interface RuntimeState {
  status: 'creating' | 'created' | 'running' | 'stopped' | 'paused';
  pid: number;
}

/** The OCI runtime as a program: runc, or another with the same command line. */
export class Runc {
  readonly path: string;
  /** Where it keeps its state, which must not outlive a reboot of the node. */
  readonly root: string;

  constructor(options: { path: string; root: string }) {
    this.path = options.path;
    this.root = options.root;
  }

  /** What comes before the command of every call. */
  get globalArguments(): string[] {
    return ['--root', this.root];
  }

  /** What it prints of its version. */
  async version(options: CallOptions = {}): Promise<string> {
    return (await this.#run(['--version'], options)).stdout;
  }

  /** The state of a container, or undefined when the runtime does not know it. @throws RUNTIME_FAILED */
  async state(id: string, options: CallOptions = {}): Promise<RuntimeState | undefined> {
    const { isDone, stdout, message } = await this.#run(['state', id], options);
    if (isDone) return JSON.parse(stdout) as RuntimeState;
    if (/does not exist/.test(message)) return undefined;
    throw failed(`The state of container ${id} is not known`, message);
  }

  /** Runs the process of a created container. @throws RUNTIME_FAILED */
  async start(id: string, options: CallOptions = {}): Promise<void> {
    const { isDone, message } = await this.#run(['start', id], options);
    if (!isDone) throw failed(`Container ${id} could not be started`, message);
  }

  /** Sends a signal to a container's first process. @returns false when that has ended already */
  async kill(id: string, signal: number, options: CallOptions = {}): Promise<boolean> {
    const { isDone, message } = await this.#run(['kill', id, String(signal)], options);
    if (isDone) return true;
    if (/not running|process already finished|does not exist|no such process/.test(message)) {
      return false;
    }
    throw failed(`Container ${id} could not be sent signal ${signal}`, message);
  }

  /** Ends all that is left of a container and forgets it. What is not there is success. */
  async delete(id: string, options: CallOptions = {}): Promise<void> {
    const { isDone, message } = await this.#run(['delete', '--force', id], options);
    if (isDone || /does not exist/.test(message)) return;
    throw failed(`Container ${id} could not be deleted`, message);
  }

  /** Freezes all processes of a container. @throws RUNTIME_FAILED */
  async pause(id: string, options: CallOptions = {}): Promise<void> {
    for (const end = performance.now() + freezeBound; ; ) {
      const { isDone, message } = await this.#run(['pause', id], options);
      if (isDone) return;
      // On a busy machine the kernel takes longer than runc waits, which has let all go on by then.
      if (message.includes('unable to freeze') && performance.now() < end) continue;
      throw failed(`Container ${id} could not be paused`, message);
    }
  }

  /** Undoes {@link pause}. @throws RUNTIME_FAILED */
  async resume(id: string, options: CallOptions = {}): Promise<void> {
    const { isDone, message } = await this.#run(['resume', id], options);
    if (!isDone) throw failed(`Container ${id} could not be resumed`, message);
  }

  async #run(args: string[], { signal }: CallOptions): Promise<Outcome> {
    try {
      const { exitCode, stdout, stderr, isTimedOut } = await runProgram(
        this.path,
        [...this.globalArguments, ...args],
        { timeout: callBound, ...(signal === undefined ? {} : { signal }) },
      );
      const said = runtimeMessage(stderr);
      const how = isTimedOut
        ? `it took longer than ${callBound / 1000} s`
        : `exit code ${exitCode}`;
      return { isDone: exitCode === 0, stdout, message: said || `${this.path}: ${how}` };
    } catch (error) {
      signal?.throwIfAborted();
      return { isDone: false, stdout: '', message: messageOf(error) };
    }
  }
}

interface Outcome {
  isDone: boolean;
  stdout: string;
  message: string;
}

/** What a runtime says in its log on stderr: the text of the last error, without the frame around it. */
export function runtimeMessage(stderr: string): string {
  const messages = [...stderr.matchAll(/level=(?:error|fatal) msg=("(?:[^"\\]|\\.)*"|\S+)/g)];
  const last = messages.at(-1)?.[1];
  if (last === undefined) return stderr.trim();
  try {
    return last.startsWith('"') ? (JSON.parse(last) as string) : last;
  } catch {
    return last;
  }
}

function failed(what: string, message: string): DrayError {
  return new DrayError('RUNTIME_FAILED', `${what}: ${message.slice(0, 2000)}`);
}
