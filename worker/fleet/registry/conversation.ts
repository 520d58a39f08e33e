import type { ErrorCode } from '../../../shared/errors.ts';
import { type Answer, discard, errorOf } from './answer.ts';
import type { Authorizer, Wanted } from './authorizer.ts';
import { parseChallenges } from './challenge.ts';
import type { Endpoints } from './endpoint.ts';
import type { Transport } from './transport.ts';

/** What is asked of a registry. */
export interface Question {
  method: 'GET' | 'HEAD';
  /** What was asked for, as in `localhost:5000/a/b:latest`. */
  what: string;
  /** What it means when the registry does not have it. */
  unknown: ErrorCode;
  headers?: Record<string, string>;
}

/** Asks one host, which may want a login first. */
export class Conversation {
  readonly #services: { transport: Transport; authorizer: Authorizer; endpoints: Endpoints };

  constructor(services: { transport: Transport; authorizer: Authorizer; endpoints: Endpoints }) {
    this.#services = services;
  }

  /** Sends a request, logs in when asked to, and gives the successful answer. */
  async send(
    wanted: Wanted,
    url: URL,
    request: Question,
    options: { signal?: AbortSignal | undefined },
  ): Promise<{ answer: Answer; authorization: string | undefined }> {
    const { endpoint } = wanted;
    const { allowPrivate, tls, headers: ownHeaders } = endpoint;
    const { method, what, unknown, headers = {} } = request;
    let authorization = await this.#services.authorizer.known(wanted);
    for (let refreshed = false; ; refreshed = true) {
      const sent = { method, url, headers, authorization, allowPrivate, tls, ownHeaders };
      const answer = await this.#services.transport
        .send({ ...sent, signal: options.signal })
        .catch((error: unknown) => {
          if (!(options.signal?.aborted ?? false)) this.#services.endpoints.failed(endpoint);
          throw error;
        });
      if (answer.status === 200 || answer.status === 206 || answer.status === 416) {
        return { answer, authorization };
      }
      const challenges = parseChallenges(answer.headers['www-authenticate']);
      // Only the registry itself may ask for a login, and only once.
      const asks = answer.status === 401 && answer.url.origin === url.origin;
      if (!asks || refreshed || challenges.length === 0) {
        const secrets = Object.values(ownHeaders ?? {}).flat();
        throw await errorOf(answer, { what, unknown, authorization, secrets });
      }
      await discard(answer.body);
      authorization = await this.#services.authorizer.answer(
        wanted,
        challenges,
        authorization,
        options,
      );
    }
  }
}
