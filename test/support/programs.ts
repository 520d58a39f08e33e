import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createWriteStream } from 'node:fs';
import { access, mkdir, readFile, rm } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

const root = path.resolve(import.meta.dirname, '../..');

/** A program of a fleet as a process of its own, with its own state folder. */
export interface TestProgram extends AsyncDisposable {
  pid: number;
  /** Everything that it logged so far. */
  log: () => Promise<string>;
  /** SIGKILL, and waits until it is gone. */
  kill: () => Promise<void>;
  /** SIGTERM, and waits. @returns the exit code */
  stop: () => Promise<number | null>;
}

export interface ProgramOptions {
  state: string;
  env: NodeJS.ProcessEnv;
  /** The path of a network namespace that it runs in. */
  network?: string;
}

export async function startWorker(options: ProgramOptions): Promise<TestProgram> {
  return await startProgram('worker', 'worker/fleet/main.ts', options);
}

export async function startAgent(options: ProgramOptions): Promise<TestProgram> {
  return await startProgram('agent', 'worker/agent/main.ts', options);
}

/** The HTTP API. Its address is in `env.DRAY_API_LISTEN`. */
export async function startApi(options: ProgramOptions): Promise<TestProgram> {
  return await startProgram('serve', 'producer/api/main.ts', options);
}

async function startProgram(
  name: string,
  program: string,
  { state, env, network }: ProgramOptions,
): Promise<TestProgram> {
  await mkdir(state, { recursive: true });
  const logFile = path.join(state, `${name}.log`);
  const ready = path.join(state, 'run', `${name}.ready`);
  await rm(ready, { force: true });
  const command = [process.execPath, path.join(root, program)];
  if (network !== undefined) command.unshift('nsenter', `--net=${network}`);
  const [file = '', ...args] = command;
  const child = spawn(file, args, {
    env: { ...process.env, DRAY_NETWORK: 'host', ...env, DRAY_STATE: state },
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  child.stderr.pipe(createWriteStream(logFile, { flags: 'a' }));
  const log = async () => await readFile(logFile, 'utf8').catch(() => '');
  for (let waited = 0; ; waited += 20) {
    if (await exists(ready)) break;
    if (child.exitCode !== null || waited > 30_000) {
      throw new Error(`${name} did not get ready:\n${await log()}`);
    }
    await sleep(20);
  }
  return {
    pid: child.pid ?? 0,
    log,
    kill: async () => {
      await end(child, 'SIGKILL');
    },
    stop: async () => await end(child, 'SIGTERM'),
    async [Symbol.asyncDispose]() {
      await end(child, 'SIGTERM');
    },
  };
}

async function end(child: ChildProcess, signal: NodeJS.Signals): Promise<number | null> {
  if (child.exitCode === null && child.signalCode === null) {
    const exited = once(child, 'exit');
    child.kill(signal);
    await exited;
  }
  return child.exitCode;
}

async function exists(file: string): Promise<boolean> {
  return await access(file).then(
    () => true,
    () => false,
  );
}
