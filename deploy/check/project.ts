import { execFile } from 'node:child_process';
import { globSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { parseAllDocuments } from 'yaml';
import { catalogue } from '../../producer/cli/catalogue.ts';

export const root = path.resolve(import.meta.dirname, '../..');
export const deploy = path.join(root, 'deploy');

/** What checks say: each was passed, failed, or could not be made. */
export class Findings {
  readonly #failed: string[] = [];

  /** Says that something was looked at, and what is wrong with it. */
  add(what: string, problems: readonly string[]): void {
    console.log(`${problems.length === 0 ? 'ok  ' : 'FAIL'}  ${what}`);
    for (const problem of problems) console.log(`      ${problem}`);
    if (problems.length > 0) this.#failed.push(what);
  }

  /** Says that something could not be looked at. */
  leave(what: string, why: string): void {
    console.log(`left  ${what}: ${why}`);
  }

  /** @returns the exit code */
  report(): number {
    return this.#failed.length > 0 ? 1 : 0;
  }
}

/** A program to its end: its exit code, and all that it said. */
export async function run(
  program: string,
  args: readonly string[],
  options: { cwd?: string; env?: NodeJS.ProcessEnv } = {},
): Promise<{ code: number; output: string }> {
  return await new Promise((resolve) => {
    execFile(program, args, { ...options, maxBuffer: 1 << 24 }, (error, stdout, stderr) => {
      const code = error === null ? 0 : typeof error.code === 'number' ? error.code : 127;
      resolve({ code, output: `${stdout}${stderr}`.trim() });
    });
  });
}

export function read(file: string): string {
  return readFileSync(path.join(root, file), 'utf8');
}

export type Document = Record<string, unknown>;

/** The documents of a YAML file. @throws where it is none */
export function readYaml(text: string): Document[] {
  return parseAllDocuments(text, { merge: true }).map((document) => {
    const [error] = document.errors;
    if (error !== undefined) throw error;
    return document.toJS() as Document;
  });
}

/** Every object below, with the names that lead to it. */
export function* walk(value: unknown, at: string[] = []): Generator<[string[], Document]> {
  if (typeof value !== 'object' || value === null) return;
  if (!Array.isArray(value)) yield [at, value as Document];
  for (const [name, each] of Object.entries(value)) yield* walk(each, [...at, name]);
}

/** Variables that the programs read, or that the libraries below them are known to. */
export function knownVariables(): Set<string> {
  const own = ['environment', 'load'].flatMap((file) =>
    [...read(`shared/config/${file}.ts`).matchAll(/\benv\.([A-Z][A-Z0-9_]+)/g)].map(
      ([, name]) => name ?? '',
    ),
  );
  const ofLibraries = ['AWS_ACCESS_KEY_ID', 'AWS_SECRET_ACCESS_KEY', 'AWS_SESSION_TOKEN'];
  return new Set([...own, ...ofLibraries, 'NODE_ENV', 'XDG_CACHE_HOME']);
}

export function isCommand(name: unknown): boolean {
  return catalogue.some(({ commands }) => commands.some((command) => command.name === name));
}

/** The names of the metrics that the programs serve, those of Node itself too. */
export function knownMetrics(): Set<string> {
  const files = globSync('{producer,shared,worker}/**/*.ts', { cwd: root });
  const names = files.flatMap((file) =>
    [...read(file).matchAll(/(?:name: |gauge\(\s*)'(dray_[a-z_]+)'/g)].map(
      ([, name]) => name ?? '',
    ),
  );
  const ofNode = ['nodejs_eventloop_lag_p99_seconds', 'process_resident_memory_bytes'];
  return new Set([...names, ...ofNode, 'process_cpu_seconds_total', 'up']);
}

/** What is in an expression that looks like a metric and is none. */
export function unknownMetrics(expression: string): string[] {
  const known = knownMetrics();
  const named = expression.match(/\b(dray_|nodejs_|process_)[a-z0-9_]+/g) ?? [];
  return named.filter(
    (name) => !known.has(name.replace(/_(bucket|sum|count)$/, '')) && !known.has(name),
  );
}
