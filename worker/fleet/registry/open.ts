import type { Config } from '../../../shared/config/config.ts';
import { RegistryClient, type RegistryClientOptions } from './client.ts';
import { createCredentials } from './credentials/source.ts';
import { proxyRule } from './proxy.ts';

/**
 * The client as this machine is configured: the settings, the credentials of this user, and the environment's proxy.
 * @throws USAGE
 */
export function openRegistryClient(
  { registries }: Pick<Config, 'registries'>,
  options: Pick<Partial<RegistryClientOptions>, 'credentials' | 'budget' | 'warned'> = {},
): RegistryClient {
  const { plainHttp, allowPrivate, credentials: folder, hosts, tokenHosts } = registries;
  return new RegistryClient({
    plainHttp: (registry) => plainHttp.includes(registry),
    allowPrivate: (registry) => allowPrivate.includes(registry),
    tokenHosts: (registry) =>
      (Object.hasOwn(tokenHosts, registry) ? tokenHosts[registry] : []) ?? [],
    hostsFolders: hosts,
    proxy: proxyRule(),
    credentials: createCredentials({ folder }),
    ...options,
  });
}
