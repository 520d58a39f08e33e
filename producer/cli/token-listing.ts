import { mkdir } from 'node:fs/promises';
import path from 'node:path';
import {
  createToken,
  readTokens,
  removeToken,
  type Scope,
  scopes,
} from '../../shared/access/tokens.ts';
import type { Context } from './context.ts';
import { formatAge, type ListOptions, printList } from './output.ts';

/** `dray token create` @throws CONFLICT, USAGE */
export async function createApiToken(
  { config }: Context,
  name: string,
  options: { scope: string[]; expires?: number },
): Promise<void> {
  const { tokens } = config.api;
  await mkdir(path.dirname(tokens), { recursive: true });
  const chosen = scopes.filter((scope): scope is Scope => options.scope.includes(scope));
  const { expires } = options;
  const token = await createToken(tokens, {
    name,
    scopes: chosen,
    ...(expires === undefined ? {} : { expiresAt: new Date(Date.now() + expires * 1000) }),
  });
  process.stdout.write(`${token}\n`);
}

/** `dray token ls` */
export async function printTokens({ config }: Context, options: ListOptions): Promise<void> {
  const now = new Date();
  const records = await readTokens(config.api.tokens);
  // The digest is of no use to people.
  const rows = records.map(({ digest: _, ...record }) => record);
  printList(rows, options, {
    headings: ['NAME', 'SCOPES', 'CREATED', 'EXPIRES'],
    row: ({ name, scopes, createdAt, expiresAt }) => [
      name,
      scopes.join(','),
      formatAge(createdAt, now),
      expiresAt === undefined ? 'never' : expiresAt.toISOString(),
    ],
    name: ({ name }) => name,
  });
}

/** `dray token rm` @throws NOT_FOUND */
export async function removeApiTokens(
  { config }: Context,
  names: readonly string[],
): Promise<void> {
  for (const name of names) {
    await removeToken(config.api.tokens, name);
    process.stdout.write(`${name}\n`);
  }
}
