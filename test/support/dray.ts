import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { text } from 'node:stream/consumers';
import { promisify } from 'node:util';
import { AgentClient } from '../../producer/agent/client.ts';
import { removeRunFolder } from './run-folder.ts';

const run = promisify(execFile);
const launcher = path.resolve(import.meta.dirname, '../../producer/cli/dray');

export interface CommandResult {
  exitCode: number | null;
  stdout: string;
  stderr: string;
}

/** The `dray` command with an embedded fleet of its own. */
export interface TestDray extends AsyncDisposable {
  /** Where its state is; `content` and `node` are in it. */
  state: string;
  env: NodeJS.ProcessEnv;
  /** Runs a command. @throws with its output when it fails */
  dray: (...args: string[]) => Promise<CommandResult>;
  /** Runs a command, however it ends. */
  tryDray: (...args: string[]) => Promise<CommandResult>;
  /** Runs `use` while the tree of an image that was pulled is mounted. */
  withTree: <T>(reference: string, use: (root: string) => Promise<T>) => Promise<T>;
}

/**
 * The command as people call it, on a temporary state folder; its first call starts the fleet.
 * @param options.folder where the state is made instead; it stays
 */
export async function startDray(
  options: { folder?: string; env?: NodeJS.ProcessEnv } = {},
): Promise<TestDray> {
  const folder = options.folder ?? (await mkdtemp(path.join(tmpdir(), 'dray-cli-')));
  const state = path.join(folder, 'state');
  await mkdir(state, { recursive: true });
  const config = path.join(folder, 'config.json');
  await writeFile(config, '{}');
  const inherited = Object.entries(process.env).filter(
    ([name]) => !/^(DRAY_|AWS_|REDIS_URL$)/.test(name),
  );
  const env: NodeJS.ProcessEnv = {
    ...Object.fromEntries(inherited),
    DRAY_CONFIG: config,
    DRAY_STATE: state,
    // A bridge would be the machine's: tests of it have a network namespace of their own.
    DRAY_NETWORK: 'host',
    ...options.env,
  };
  const tryDray = async (...args: string[]): Promise<CommandResult> => {
    const child = spawn(launcher, args, { env, stdio: ['ignore', 'pipe', 'pipe'] });
    const [stdout, stderr] = await Promise.all([
      text(child.stdout),
      text(child.stderr),
      once(child, 'close'),
    ]);
    return { exitCode: child.exitCode, stdout, stderr };
  };
  const dray = async (...args: string[]) => {
    const result = await tryDray(...args);
    if (result.exitCode === 0) return result;
    throw new Error(
      `dray ${args.join(' ')} ended with ${result.exitCode}:\n${result.stdout}${result.stderr}`,
    );
  };
  return {
    state,
    env,
    dray,
    tryDray,
    withTree: async (reference, use) => {
      const agent = new AgentClient({ socketPath: path.join(state, 'run', 'agent.sock') });
      const key = `tree-${crypto.randomUUID()}`;
      const root = await mkdtemp(path.join(folder, 'tree-'));
      const { mounts } = await agent.prepareSnapshot({ key, image: reference });
      try {
        for (const { type, source, options } of mounts) {
          await run('mount', ['-t', type, '-o', options.join(','), source, root]);
        }
        try {
          return await use(root);
        } finally {
          await run('umount', [root]);
        }
      } finally {
        await agent.removeSnapshot(key);
      }
    },
    async [Symbol.asyncDispose]() {
      await dray('down');
      await removeRunFolder(path.join(state, 'node'));
      if (options.folder === undefined) await rm(folder, { recursive: true, force: true });
    },
  };
}
