import type { Server } from 'node:https';
import type { AddressInfo } from 'node:net';
import { hostname } from 'node:os';
import type { FastifyRequest } from 'fastify';
import { followCertificates, tlsOptions } from '../../../shared/access/tls.ts';
import { allows, type Scope, TokenFile, unauthorized } from '../../../shared/access/tokens.ts';
import type { Config } from '../../../shared/config/config.ts';
import { DrayError, messageOf } from '../../../shared/errors.ts';
import { type AgentServices, createAgentServer } from './server.ts';

/** The agent as other machines reach it. */
export interface RemoteAgent extends AsyncDisposable {
  /** `host:port` that they are told. */
  address: string;
}

/**
 * Listens for other machines, by https: for those who show a certificate of the authority for clients, a token,
 * or both where both are set up.
 * @returns undefined where the configuration says nothing of it
 * @throws USAGE when everybody could do everything, or the address can't be listened on
 */
export async function listenForOthers(
  { agent: { remote }, api }: Pick<Config, 'agent' | 'api'>,
  services: AgentServices,
): Promise<RemoteAgent | undefined> {
  if (remote === undefined) return undefined;
  const { listen, tls } = remote;
  const tokens = new TokenFile(api.tokens);
  if (!tokens.isThere && tls.clientAuthority === undefined) {
    throw new DrayError('USAGE', `The agent would obey everybody who reaches ${listen}`, {
      hint: `Set DRAY_AGENT_CLIENT_CA, or make a token in ${api.tokens}: dray token create NAME --scope run`,
    });
  }
  const server = createAgentServer(services, {
    https: tlsOptions(tls),
    authorize: async (request) => await authorize(tokens, request),
  });
  const [host, port] = split(listen);
  try {
    await server.listen({ host: host.replaceAll(/[[\]]/g, ''), port: Number(port) });
  } catch (error) {
    throw new DrayError('USAGE', `${listen} can't be listened on: ${messageOf(error)}`, {
      hint: 'Choose another address with DRAY_AGENT_LISTEN.',
      cause: error,
    });
  }
  const stop = followCertificates(server.server as unknown as Server, tls, services.log);
  return {
    address: advertised(remote.advertise ?? listen, (server.server.address() as AddressInfo).port),
    [Symbol.asyncDispose]: async () => {
      stop();
      await server.close();
    },
  };
}

/** An address of all interfaces is none that others can use: the host's name is. */
function advertised(address: string, port: number): string {
  const [host, given] = split(address);
  const isAny = host === '0.0.0.0' || host === '[::]';
  return `${isAny ? hostname() : host}:${given === '0' ? port : given}`;
}

function split(address: string): [host: string, port: string] {
  const colon = address.lastIndexOf(':');
  return [address.slice(0, colon), address.slice(colon + 1)];
}

/** Who came without a token has shown a certificate, or has no connection. */
async function authorize(tokens: TokenFile, request: FastifyRequest): Promise<void> {
  const [, token] = /^Bearer ([\w-]{1,256})$/i.exec(request.headers.authorization ?? '') ?? [];
  const record = await tokens.identify(token, tokenMissing);
  if (record === undefined) return;
  const scope = scopeOf(request);
  if (allows(record, scope)) return;
  throw new DrayError('DENIED', `The token ${record.name} has no scope ${scope}`, {
    hint: `It has: ${record.scopes.join(', ')}.`,
  });
}

function tokenMissing(): DrayError {
  return unauthorized(
    'The agent wants a token',
    'Put one into a file, and its path into DRAY_NODES_TOKEN. Make one on the node: dray token create NAME --scope run',
  );
}

/** To look needs `read`, all else that concerns containers, and the files in them, `run`, and what reaches the node's own files `admin`. */
function scopeOf({ method, routeOptions: { url = '' } }: FastifyRequest): Scope {
  if (method === 'GET' && !/\/(archive|file)$/.test(url)) return 'read';
  return url.startsWith('/v1/containers') ? 'run' : 'admin';
}
