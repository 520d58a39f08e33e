import { asDrayError, DrayError } from '../../../shared/errors.ts';
import type { Endpoint } from './endpoint.ts';
import { hostAndPort } from './network-error.ts';

/**
 * Does something at the first place that can: whatever is wrong with a mirror, the next one is asked. The last
 * place, which is the registry itself unless the configuration leaves it out, has the last word.
 * @throws what the last place said, with what the ones before it said added to the message
 */
export async function failover<T>(
  registry: string,
  endpoints: AsyncIterable<Endpoint>,
  work: (endpoint: Endpoint) => Promise<T>,
  options: { signal?: AbortSignal | undefined },
): Promise<T> {
  const said: string[] = [];
  let last: unknown;
  let host: string | undefined;
  const failed = (error: unknown) => {
    if (options.signal?.aborted ?? false) throw error;
    if (host !== undefined) said.push(`the mirror ${host} said: ${asDrayError(last).message}`);
    last = error;
  };
  try {
    for await (const endpoint of endpoints) {
      try {
        return await work(endpoint);
      } catch (error) {
        failed(error);
        host = hostAndPort(endpoint.base);
      }
    }
  } catch (error) {
    // How the next place is spoken to could not be found out.
    if (error !== last) failed(error);
  }
  if (last === undefined) {
    throw new DrayError(
      'DENIED',
      `The configuration leaves no host that ${registry} may be pulled from`,
      { hint: 'See the capabilities in the hosts.toml of the registry, on the workers.' },
    );
  }
  if (said.length === 0) throw last;
  const { code, message, retryable, cause, context, hint } = asDrayError(last);
  throw new DrayError(code, `${message} (before that, ${said.join('; ')})`, {
    ...{ retryable, cause, context },
    ...(hint === undefined ? {} : { hint }),
  });
}
