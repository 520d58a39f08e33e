import type { Config } from '../../../shared/config.ts';
import { RegistryClient } from './client.ts';
import type { CredentialSource } from './credentials/credential.ts';
import { createCredentials } from './credentials/source.ts';
import type { ExchangeBudget } from './exchange-budget.ts';
import { proxyRule } from './proxy.ts';

/**
 * The client as this machine is configured: the settings, the credentials of this user, and the environment's proxy.
 * @throws USAGE
 */
export function openRegistryClient(
  { registries }: Pick<Config, 'registries'>,
  options: { credentials?: CredentialSource; budget?: ExchangeBudget } = {},
): RegistryClient {
  const { plainHttp, allowPrivate, credentials: folder, hosts, tokenHosts } = registries;
  return new RegistryClient({
    plainHttp: (registry) => plainHttp.includes(registry),
    allowPrivate: (registry) => allowPrivate.includes(registry),
    tokenHosts: (registry) =>
      (Object.hasOwn(tokenHosts, registry) ? tokenHosts[registry] : []) ?? [],
    hostsFolders: hosts,
    proxy: proxyRule(),
    ...(options.budget === undefined ? {} : { budget: options.budget }),
    credentials: options.credentials ?? createCredentials({ folder }),
  });
}
