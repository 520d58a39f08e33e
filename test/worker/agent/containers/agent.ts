import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdir, readFile } from 'node:fs/promises';
import path from 'node:path';
import { AgentClient } from '../../../../producer/agent/client.ts';
import { until } from '../../../support/until.ts';
import { openNode, removeRoot, removeRun, temporaryRoot } from './node.ts';

/** An agent as a process of its own, and a client of its API. */
export interface TestAgent extends AsyncDisposable {
  client: AgentClient;
  root: string;
  socket: string;
  /** SIGKILL, and waits until it is gone. */
  kill: () => Promise<void>;
  /** Starts the next agent on the same root. */
  start: () => Promise<void>;
}

/**
 * Starts one on a temporary root; at the end agent, containers, mounts and what is in the root go.
 * @param options.root a root of the caller's, which stays
 * @param options.within a program with arguments that becomes the agent
 * @param options.prepare what is done to the root before
 */
export async function startTestAgent(
  options: { root?: string; within?: string[]; prepare?: (root: string) => void } = {},
): Promise<TestAgent> {
  const { within = [], prepare = () => {} } = options;
  const root = options.root ?? (await temporaryRoot());
  prepare(root);
  const socket = path.join(root, 'run', 'agent.sock');
  let child = await startProcess(within, root, socket);
  const kill = async () => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    child.kill('SIGKILL');
    await once(child, 'exit');
  };
  return {
    client: new AgentClient({ socketPath: socket }),
    root,
    socket,
    kill,
    start: async () => {
      child = await startProcess(within, root, socket);
    },
    [Symbol.asyncDispose]: async () => {
      await kill();
      const node = await openNode(root);
      for (const { id } of node.containers.list()) {
        await node.containers.remove(id, { force: true });
      }
      await node[Symbol.asyncDispose]();
      if (options.root === undefined) await removeRoot(root);
      else await removeRun(root);
    },
  };
}

/** No container, and before long no file, mount and monitor of one. */
export async function assertNothingLeft({ client, root }: TestAgent): Promise<void> {
  assert.deepEqual(await client.containers.list(), []);
  let left: string[] = [];
  await until(
    () => `nothing is left, and not ${left}`,
    async () => {
      const mounts = (await readFile('/proc/self/mountinfo', 'utf8')).split('\n');
      left = [
        ...(await readdir(path.join(root, 'containers'))),
        ...(await readdir(path.join(root, 'exits'))),
        ...(await readdir(path.join(root, 'snapshots'))).filter((name) => name !== '1'),
        ...mounts.filter((line) => line.includes(`${root}/`)),
        ...(await monitorsOf(root)),
      ];
      return left.length === 0;
    },
  );
}

async function monitorsOf(root: string): Promise<string[]> {
  const pids = (await readdir('/proc')).filter((entry) => /^\d+$/.test(entry));
  const lines = await Promise.all(
    pids.map((pid) => readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')),
  );
  return lines.filter((line) => line.includes('conmon') && line.includes(root));
}

async function startProcess(within: string[], root: string, socket: string) {
  const main = path.join(import.meta.dirname, 'agent-process.ts');
  const [program = '', ...args] = [...within, process.execPath, main, root, socket];
  const child = spawn(program, args, {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const [first] = await Promise.race([once(child.stdout, 'data'), once(child, 'exit')]);
  if (String(first) !== 'ready\n') throw new Error(`the agent did not start: ${String(first)}`);
  return child;
}
