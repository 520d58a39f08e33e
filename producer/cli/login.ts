import { spawn } from 'node:child_process';
import { once } from 'node:events';
import path from 'node:path';
import { createInterface } from 'node:readline/promises';
import { text } from 'node:stream/consumers';
import { DrayError, decodeError } from '../../shared/errors.ts';
import { parseReference } from '../../shared/image/reference.ts';
import type { LoginOutcome, LoginRequest } from '../../shared/registry/login.ts';

/** Talks to registries, which the commands never do themselves, and knows where workers look for credentials. */
const program = path.resolve(import.meta.dirname, '../../worker/fleet/login.ts');

const maxPasswordBytes = 64 * 1024;

/** `host[:port]` of what people write, which may be a URL. @throws USAGE */
export function parseRegistry(written: string): string {
  const host = written.replace(/^https?:\/\//, '').replace(/\/(?:v[12]\/?)?$/, '');
  try {
    // A name without a dot or a port would be a part of a repository.
    const { registry, repository } = parseReference(`${host}/any/thing`);
    if (repository === 'any/thing') return registry;
  } catch {
    // What is wrong is told below.
  }
  throw new DrayError('USAGE', `"${written.slice(0, 100)}" is not a registry`, {
    hint: 'A registry is host[:port], as in ghcr.io or localhost:5000.',
  });
}

/** Has a login checked and kept, or removed. @throws what is wrong with it */
export async function changeLogin(request: LoginRequest): Promise<LoginOutcome> {
  const child = spawn(process.execPath, [...process.execArgv, program], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  child.stdin.on('error', () => {});
  child.stdin.end(JSON.stringify(request));
  const [output] = await Promise.all([text(child.stdout), once(child, 'close')]);
  let outcome: LoginOutcome;
  try {
    outcome = JSON.parse(output) as LoginOutcome;
  } catch {
    throw new DrayError('INTERNAL', `The program ${program} ended without an answer`);
  }
  if (outcome.action === 'failed') throw decodeError(outcome.error);
  return outcome;
}

/** All of standard input, without the end of its last line. @throws USAGE */
export async function passwordFromInput(): Promise<string> {
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of process.stdin as AsyncIterable<Buffer>) {
    length += chunk.length;
    if (length > maxPasswordBytes) break;
    chunks.push(chunk);
  }
  const password = Buffer.concat(chunks)
    .toString('utf8')
    .replace(/\r?\n$/, '');
  if (password !== '' && length <= maxPasswordBytes) return password;
  throw new DrayError('USAGE', 'Standard input holds no password', {
    hint: 'As in: dray login --username NAME --password-stdin REGISTRY < FILE',
  });
}

/** Asks the person at the terminal. @throws USAGE where there is none */
export async function askForLogin(
  registry: string,
  known: string | undefined,
): Promise<{ username: string; password: string }> {
  if (!process.stdin.isTTY) {
    throw new DrayError('USAGE', 'There is no terminal to ask for the password', {
      hint: 'Give it on standard input: --username NAME --password-stdin',
    });
  }
  const username = known ?? (await ask(`user name for ${registry}: `));
  const password = await askHidden(`password of ${username}: `);
  if (username !== '' && password !== '') return { username, password };
  throw new DrayError('USAGE', 'A login needs a user name and a password');
}

async function ask(question: string): Promise<string> {
  const lines = createInterface({ input: process.stdin, output: process.stderr });
  try {
    return (await lines.question(question)).trim();
  } finally {
    lines.close();
  }
}

/** Nothing of what is typed is shown. */
async function askHidden(question: string): Promise<string> {
  const { stdin, stderr } = process;
  stderr.write(question);
  stdin.setRawMode(true);
  stdin.resume();
  let typed = '';
  try {
    for (;;) {
      const [chunk] = (await once(stdin, 'data')) as [Buffer | string];
      for (const key of chunk.toString()) {
        if (key === '\r' || key === '\n' || key === '\u0004') return typed;
        if (key === '\u0003') throw new DrayError('CANCELLED', 'stopped');
        if (key === '\u007f' || key === '\b') typed = [...typed].slice(0, -1).join('');
        else if (key >= ' ') typed += key;
      }
    }
  } finally {
    stdin.setRawMode(false);
    stdin.pause();
    stderr.write('\n');
  }
}
