/**
 * The program behind `dray login` and `dray logout`: checks a login against its registry as a worker on this machine
 * would use it, then keeps it where such a worker finds it. Takes a request from standard input, answers on standard
 * output, and needs no fleet.
 */
import path from 'node:path';
import { json } from 'node:stream/consumers';
import type { Config } from '../../shared/config/config.ts';
import { loadConfig } from '../../shared/config/load.ts';
import { DrayError, encodeError } from '../../shared/errors.ts';
import {
  type LoginOutcome,
  type LoginRequest,
  loginRequestSchema,
} from '../../shared/registry/login.ts';
import { removeLogin, saveLogin } from './registry/credentials/change.ts';
import { CredentialHelpers } from './registry/credentials/helper.ts';
import { createCredentials, credentialFiles } from './registry/credentials/source.ts';
import { openRegistryClient } from './registry/open.ts';

const outcome = await answer().catch(
  (error: unknown): LoginOutcome => ({ action: 'failed', error: encodeError(error) }),
);
process.stdout.write(JSON.stringify(outcome));

async function answer(): Promise<LoginOutcome> {
  const parsed = loginRequestSchema.safeParse(await json(process.stdin).catch(() => undefined));
  // What is wrong with it may quote the password.
  if (!parsed.success) throw new DrayError('USAGE', 'The request to log in or out is malformed');
  const config = loadConfig();
  return parsed.data.action === 'login'
    ? await login(parsed.data, config)
    : await logout(parsed.data, config);
}

async function login(
  request: Extract<LoginRequest, { action: 'login' }>,
  config: Config,
): Promise<LoginOutcome> {
  const { registry, username, password } = request;
  const client = openRegistryClient(config, {
    credentials: async () => ({ username, password }),
    warned: (host, warning) => process.stderr.write(`${host} warns: ${warning}\n`),
  });
  let checked: boolean;
  try {
    checked = await client.checkLogin(registry);
  } catch (error) {
    throw withLoginHint(error);
  } finally {
    await client.close();
  }
  const file = fileOf(request, config);
  const helpers = new CredentialHelpers();
  const where = await saveLogin(file, registry, { username, password }, helpers);
  return { action: 'login', where, checked };
}

async function logout(
  request: Extract<LoginRequest, { action: 'logout' }>,
  config: Config,
): Promise<LoginOutcome> {
  const { registry, credential } = request;
  const file = fileOf(request, config);
  const helpers = new CredentialHelpers();
  const removed = await removeLogin(file, registry, helpers);
  const find = createCredentials({ helpers });
  const remaining = credential === undefined ? await find({ registry }) : undefined;
  return {
    ...{ action: 'logout', where: file, removed },
    ...(remaining?.from === undefined ? {} : { remaining: remaining.from }),
  };
}

/** The first place that workers look at. */
function fileOf({ credential }: LoginRequest, config: Config): string {
  if (credential !== undefined) {
    return path.join(config.registries.credentials, `${credential}.json`);
  }
  const [first = ''] = credentialFiles(process.env);
  return path.resolve(first);
}

function withLoginHint(error: unknown): unknown {
  if (!(error instanceof DrayError)) return error;
  const { code, message, retryable, context, hint } = error;
  if (code !== 'UNAUTHORIZED' && code !== 'DENIED') return error;
  const untold = hint === undefined || /dray login/.test(hint);
  return new DrayError(code, message, {
    ...{ retryable, context },
    hint: `${untold ? 'Check the user name and the password.' : hint} Nothing was kept.`,
  });
}
