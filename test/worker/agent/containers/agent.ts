import { spawn } from 'node:child_process';
import { once } from 'node:events';
import path from 'node:path';
import { AgentClient } from '../../../../producer/agent/client.ts';
import { openNode, removeRoot, temporaryRoot } from './node.ts';

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

/** Starts one on a temporary root; at the end agent, containers, mounts and folder go. */
export async function startTestAgent(): Promise<TestAgent> {
  const root = await temporaryRoot();
  const socket = path.join(root, 'run', 'agent.sock');
  let child = await startProcess(root, socket);
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
      child = await startProcess(root, socket);
    },
    [Symbol.asyncDispose]: async () => {
      await kill();
      const node = await openNode(root);
      for (const { id } of node.containers.list()) {
        await node.containers.remove(id, { force: true });
      }
      await node[Symbol.asyncDispose]();
      await removeRoot(root);
    },
  };
}

async function startProcess(root: string, socket: string) {
  const program = path.join(import.meta.dirname, 'agent-process.ts');
  const child = spawn(process.execPath, [program, root, socket], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const [first] = await Promise.race([once(child.stdout, 'data'), once(child, 'exit')]);
  if (String(first) !== 'ready\n') throw new Error(`the agent did not start: ${String(first)}`);
  return child;
}
