import { spawn } from 'node:child_process';
import { once } from 'node:events';
import path from 'node:path';
import { createInterface } from 'node:readline';

const main = path.resolve(import.meta.dirname, '../../../producer/api/main.ts');

/** `dray serve` of a fleet, on a free port of loopback. */
export interface TestApi extends AsyncDisposable {
  url: string;
  pid: number;
  /** A request with what JSON needs; `token` goes into its header. */
  call: (
    method: string,
    path: string,
    options?: { body?: unknown; token?: string; headers?: Record<string, string> },
  ) => Promise<{ status: number; headers: Headers; json: Record<string, unknown> }>;
}

export async function startApi(env: NodeJS.ProcessEnv): Promise<TestApi> {
  const child = spawn(process.execPath, [main], {
    env: { ...process.env, DRAY_CONFIG: '', DRAY_API_LISTEN: '127.0.0.1:0', ...env },
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  let said = '';
  const url = await new Promise<string>((resolve, reject) => {
    createInterface({ input: child.stderr }).on('line', (line) => {
      said += `${line}\n`;
      const [found] = /https?:\/\/127\.0\.0\.1:\d+/.exec(line) ?? [];
      if (found !== undefined) resolve(found);
    });
    child.once('exit', (code) => reject(new Error(`dray serve ended with ${code}: ${said}`)));
  });
  return {
    url,
    pid: child.pid ?? 0,
    async call(method, at, { body, token, headers = {} } = {}) {
      const response = await fetch(url + at, {
        method,
        headers: {
          ...(body === undefined ? {} : { 'content-type': 'application/json' }),
          ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
          ...headers,
        },
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      });
      const text = await response.text();
      const json = (text === '' ? {} : JSON.parse(text)) as Record<string, unknown>;
      return { status: response.status, headers: response.headers, json };
    },
    async [Symbol.asyncDispose]() {
      if (child.exitCode !== null) return;
      const exited = once(child, 'exit');
      child.kill('SIGTERM');
      await exited;
    },
  };
}
