import type { ErrorCode } from '../../../shared/errors.ts';
import { DrayError } from '../../../shared/errors.ts';
import { type Answer, discard, errorOf } from './answer.ts';
import type { Authorizer, Wanted } from './authorizer.ts';
import { type Challenge, parseChallenges } from './challenge.ts';
import type { Credential } from './credentials/credential.ts';
import type { Endpoint, Endpoints } from './endpoint.ts';
import type { ExchangeBudget } from './exchange-budget.ts';
import { headerOf } from './header.ts';
import { exhaustedMs, quotaOf, retryAfterMs } from './rate-limit.ts';
import type { Outgoing, Transport } from './transport.ts';
import { warningsOf } from './warning.ts';

/** What is asked of a registry. */
export interface Question {
  method: 'GET' | 'HEAD';
  /** What was asked for, as in `localhost:5000/a/b:latest`. */
  what: string;
  /** What it means when the registry does not have it. */
  unknown: ErrorCode;
  headers?: Record<string, string>;
  /** It goes on with a question that was let in, and could not be asked again from the start. */
  follows?: boolean;
  /** A blob is expected. */
  isBlob?: boolean;
}

export interface ConversationServices {
  transport: Transport;
  authorizer: Authorizer;
  endpoints: Endpoints;
  budget: ExchangeBudget;
  /** Told what registries warn of, each time. */
  warned: (registry: string, warning: string) => void;
}

/** Asks one host, which may want a login first. */
export class Conversation {
  readonly #services: ConversationServices;

  constructor(services: ConversationServices) {
    this.#services = services;
  }

  /** Sends a request, logs in when asked to, and gives the successful answer. */
  async send(
    wanted: Wanted,
    url: URL,
    request: Question,
    options: { signal?: AbortSignal | undefined },
  ): Promise<{
    answer: Answer;
    authorization: string | undefined;
    /** What the authorization was made of. */
    login: Credential | undefined;
  }> {
    const { endpoint } = wanted;
    const { allowPrivate, tls, headers: ownHeaders } = endpoint;
    const { method, what, unknown, headers = {} } = request;
    let authorization = await this.#services.authorizer.known(wanted);
    for (let refreshed = false; ; refreshed = true) {
      const sent = { method, url, headers, authorization, allowPrivate, tls, ownHeaders };
      const answer = await this.#exchange(
        endpoint,
        { ...sent, signal: options.signal },
        { ...request, follows: refreshed || (request.follows ?? false) },
      );
      if (answer.status === 200 || answer.status === 206 || answer.status === 416) {
        const login = authorization && this.#services.authorizer.loginOf(wanted);
        return { answer, authorization, login: login || undefined };
      }
      const challenges = parseChallenges(answer.headers['www-authenticate']);
      // Only the registry itself may ask for a login, and only once.
      const asks = answer.status === 401 && answer.url.origin === url.origin;
      if (!asks || refreshed || challenges.length === 0) {
        const secrets = Object.values(ownHeaders ?? {}).flat();
        const waitMs = answer.status === 429 ? await this.#pause(endpoint, answer) : undefined;
        throw await errorOf(answer, { what, unknown, authorization, secrets, waitMs });
      }
      await discard(answer.body);
      authorization = await this.#logIn(wanted, challenges, authorization, options);
    }
  }

  /** One request within the budget, which it counts in until its answer is over. */
  async #exchange(
    endpoint: Endpoint,
    sent: Outgoing,
    { follows = false, isBlob = false }: Question,
  ): Promise<Answer> {
    const { budget, transport, endpoints } = this.#services;
    const { registry } = endpoint;
    const entered = await budget.enter(registry, { follows, isBlob, signal: sent.signal });
    let answer: Answer;
    try {
      answer = await transport.send(sent);
    } catch (error) {
      entered[Symbol.dispose]();
      if (!(sent.signal?.aborted ?? false)) endpoints.failed(endpoint);
      throw error;
    }
    for (const warning of warningsOf(answer.headers)) this.#services.warned(registry, warning);
    answer.body.once('close', () => entered[Symbol.dispose]());
    try {
      // The pause that a refusal asks for is another one's to tell.
      await entered.answered(answer.status === 429 ? undefined : quotaOf(answer.own));
    } catch (error) {
      answer.body.on('error', () => {}).destroy();
      throw error;
    }
    return answer;
  }

  /** Without its token a registry can't be asked either: its token server's pause is its own. */
  async #logIn(
    wanted: Wanted,
    ...answer: [Challenge[], string | undefined, { signal?: AbortSignal | undefined }]
  ): Promise<string> {
    try {
      return await this.#services.authorizer.answer(wanted, ...answer);
    } catch (error) {
      if (error instanceof DrayError && error.code === 'RATE_LIMITED') {
        const { retryAfterMs: asked } = error.context;
        const ms = typeof asked === 'number' ? asked : undefined;
        error.context.retryAfterMs = await this.#services.budget.pause(
          wanted.endpoint.registry,
          ms,
        );
      }
      throw error;
    }
  }

  async #pause({ registry }: Endpoint, { headers }: Answer): Promise<number> {
    const asked = retryAfterMs(headerOf(headers, 'retry-after')) ?? exhaustedMs(quotaOf(headers));
    return await this.#services.budget.pause(registry, asked);
  }
}
