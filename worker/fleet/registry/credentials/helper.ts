import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { z } from 'zod';
import { DrayError, errnoOf } from '../../../../shared/errors.ts';
import { defaultRegistry } from '../../../../shared/image/reference.ts';
import type { Credential } from './credential.ts';

/** Milliseconds that a helper may take: those of clouds ask their cloud first. */
const deadlineMs = 30_000;
const maxOutputBytes = 64 * 1024;
/** Milliseconds for which an answer is kept whose end can't be told, or that was "there is none". */
const defaultKeepMs = 5 * 60_000;
const keepNoneMs = 30_000;
const mostKept = 1_000;
const maxKeepMs = 12 * 3600_000;
/** Milliseconds before its end at which a secret is not used any more. */
const marginMs = 60_000;

/** Docker Hub's name among helpers. */
const defaultServer = 'https://index.docker.io/v1/';
/** The user name that says that the secret is an identity token. */
const identityUser = '<token>';

const answerSchema = z.object({ Username: z.string(), Secret: z.string() });

interface Kept {
  credential: Credential | undefined;
  /** By Date.now(). */
  until: number;
}

/** Programs `docker-credential-NAME`, spoken to by docker-credential-helpers' protocol. */
export class CredentialHelpers {
  readonly #deadlineMs: number;
  readonly #env: NodeJS.ProcessEnv;
  readonly #kept = new Map<string, Kept>();
  readonly #asked = new Map<string, Promise<Credential | undefined>>();

  constructor(options: { env?: NodeJS.ProcessEnv; deadlineMs?: number } = {}) {
    this.#env = options.env ?? process.env;
    this.#deadlineMs = options.deadlineMs ?? deadlineMs;
  }

  /**
   * What a helper has for a registry. Asked once by all who want it at the same time; the answer is kept until the
   * secret ends, as far as that can be told from it, else for five minutes.
   * @throws TOOL_MISSING, TIMEOUT (retryable), USAGE. Nothing that the helper wrote is in them.
   */
  async get(
    name: string,
    registry: string,
    options: { fresh?: boolean } = {},
  ): Promise<Credential | undefined> {
    const key = `${name} ${registry}`;
    const kept = this.#kept.get(key);
    if (kept !== undefined && kept.until > Date.now() && !options.fresh) return kept.credential;
    let asked = this.#asked.get(key);
    if (asked === undefined) {
      asked = this.#ask(name, registry).finally(() => this.#asked.delete(key));
      this.#asked.set(key, asked);
    }
    return await asked;
  }

  /** Gives a helper a login to keep. @throws as {@link get} */
  async store(
    name: string,
    registry: string,
    login: { username: string; password: string },
  ): Promise<void> {
    const { username, password } = login;
    const request = { ServerURL: serverOf(registry), Username: username, Secret: password };
    const { code } = await this.#run(name, 'store', JSON.stringify(request));
    if (code !== 0) throw failed(name, 'store', code);
  }

  /** Makes a helper forget a login. @returns false when it knew of none */
  async erase(name: string, registry: string): Promise<boolean> {
    if ((await this.get(name, registry, { fresh: true })) === undefined) return false;
    const { code } = await this.#run(name, 'erase', serverOf(registry));
    if (code !== 0) throw failed(name, 'erase', code);
    this.#kept.clear();
    return true;
  }

  async #ask(name: string, registry: string): Promise<Credential | undefined> {
    const { code, output } = await this.#run(name, 'get', serverOf(registry));
    const credential = code === 0 ? parseAnswer(name, output) : undefined;
    if (code !== 0 && !/credentials not found/i.test(output)) throw failed(name, 'get', code);
    const keep = credential === undefined ? keepNoneMs : keepMs(credential);
    if (this.#kept.size >= mostKept) this.#kept.clear();
    this.#kept.set(`${name} ${registry}`, { credential, until: Date.now() + keep });
    return credential;
  }

  async #run(
    name: string,
    action: 'get' | 'store' | 'erase',
    input: string,
  ): Promise<{ code: number | null; output: string }> {
    const program = programOf(name);
    // A group of its own, so that nothing that it started outlives the time limit.
    const child = spawn(program, [action], {
      detached: true,
      env: this.#env,
      stdio: ['pipe', 'pipe', 'ignore'],
    });
    const chunks: Buffer[] = [];
    let length = 0;
    let timedOut = false;
    const end = () => {
      try {
        if (child.pid !== undefined) process.kill(-child.pid, 'SIGKILL');
      } catch {
        // It has ended by itself.
      }
    };
    child.stdout.on('data', (chunk: Buffer) => {
      length += chunk.length;
      if (length > maxOutputBytes) end();
      else chunks.push(chunk);
    });
    child.stdin.on('error', () => {});
    child.stdin.end(input);
    const timer = setTimeout(() => {
      timedOut = true;
      end();
    }, this.#deadlineMs);
    try {
      const [code] = (await once(child, 'close')) as [number | null];
      if (timedOut) {
        throw new DrayError(
          'TIMEOUT',
          `${program} took longer than ${this.#deadlineMs / 1000} s and was ended`,
          { retryable: true, hint: tryItself(name, action) },
        );
      }
      return { code, output: Buffer.concat(chunks).toString('utf8') };
    } catch (error) {
      if (error instanceof DrayError) throw error;
      throw new DrayError('TOOL_MISSING', `${program} can't be started (${errnoOf(error)})`, {
        hint: `Install it where the worker finds it (PATH), or take "${name}" out of the credentials file that names it.`,
      });
    } finally {
      clearTimeout(timer);
    }
  }
}

function programOf(name: string): string {
  return `docker-credential-${name}`;
}

function serverOf(registry: string): string {
  return registry === defaultRegistry ? defaultServer : registry;
}

function parseAnswer(name: string, output: string): Credential | undefined {
  let document: unknown;
  try {
    document = JSON.parse(output);
  } catch {
    // The parser's own message quotes the output.
  }
  const { data } = answerSchema.safeParse(document);
  if (data === undefined) {
    throw new DrayError('USAGE', `${programOf(name)} gave something that is no credential`, {
      hint: tryItself(name, 'get'),
    });
  }
  if (data.Username === '' && data.Secret === '') return undefined;
  const from = programOf(name);
  return data.Username === identityUser
    ? { identityToken: data.Secret, from }
    : { username: data.Username, password: data.Secret, from };
}

function failed(name: string, action: string, code: number | null): DrayError {
  const how = code === null ? 'was ended' : `ended with ${code}`;
  // What it says may hold what it knows.
  return new DrayError('USAGE', `${programOf(name)} ${action} ${how}`, {
    hint: tryItself(name, action),
  });
}

function tryItself(name: string, action: string): string {
  return `To see what it says, run it as the worker's user: echo HOST | ${programOf(name)} ${action}`;
}

/** For how many milliseconds a credential can be kept. */
function keepMs(credential: Credential): number {
  const secret = 'password' in credential ? credential.password : '';
  const token = 'identityToken' in credential ? credential.identityToken : secret;
  const end = endOf(token);
  if (end === undefined) return defaultKeepMs;
  return Math.min(maxKeepMs, Math.max(0, end - Date.now() - marginMs));
}

/** When a secret ends, in milliseconds since 1970: a JWT says so (`exp`), and a token of ECR (`expiration`). */
function endOf(secret: string): number | undefined {
  const parts = secret.split('.');
  const json = parts.length === 3 ? parts[1] : secret;
  try {
    const text = Buffer.from(json ?? '', 'base64').toString('utf8');
    const { exp, expiration } = Object(JSON.parse(text)) as Record<string, unknown>;
    const seconds = parts.length === 3 ? exp : expiration;
    return typeof seconds === 'number' && Number.isFinite(seconds) ? seconds * 1000 : undefined;
  } catch {
    return undefined;
  }
}
