import type { Readable } from 'node:stream';
import type { Dispatcher } from 'undici';

type Controller = Dispatcher.DispatchController;

/** A request whose body's chunks may go straight to whoever takes them. */
export interface StraightOptions {
  straight?: Straight;
}

/**
 * The way of a body's chunks past its stream, which is there for all else: how it ends, breaks, is given up. A chunk
 * comes this way while the stream flows and holds none.
 */
export class Straight {
  #way: { body: Readable; take: (chunk: Buffer) => void } | undefined;
  #exchange: Controller | undefined;

  /** @param take is given chunks that are another's after it returned, or when a body that it paused goes on */
  open(body: Readable, take: (chunk: Buffer) => void): void {
    this.#way = { body, take };
  }

  /** Brings more, unless the body is paused, or has some: called after each chunk, and after a pause. */
  goOn(): void {
    if (this.#way === undefined) return;
    const { body } = this.#way;
    if (!body.isPaused() && body.readableLength === 0) this.#exchange?.resume();
  }

  /** The exchange as the stream gets it: once the way is open, it is not the stream that asks for more. */
  controllerOf(exchange: Controller): Controller {
    this.#exchange = exchange;
    return {
      get aborted() {
        return exchange.aborted;
      },
      get paused() {
        return exchange.paused;
      },
      get reason() {
        return exchange.reason;
      },
      abort: (reason) => exchange.abort(reason),
      pause: () => exchange.pause(),
      resume: () => {
        if (this.#way === undefined) exchange.resume();
      },
    };
  }

  /** @returns whether it was taken */
  pass(chunk: Buffer, exchange: Controller): boolean {
    if (this.#way === undefined) return false;
    // The parser has none left, of what it was paused in.
    if (chunk.length === 0) return true;
    const { body, take } = this.#way;
    const straight = body.readableFlowing === true && body.readableLength === 0;
    if (straight) take(chunk);
    if (!straight || body.isPaused()) exchange.pause();
    return straight;
  }
}

/** Copies what a body's stream keeps: chunks from the socket are another's soon (./in-place.ts). */
export const straightOrCopied: Dispatcher.DispatcherComposeInterceptor =
  (dispatch) =>
  ({ straight, ...options }: Dispatcher.DispatchOptions & StraightOptions, handler) =>
    dispatch(options, {
      onRequestStart: (exchange, context) =>
        handler.onRequestStart?.(straight?.controllerOf(exchange) ?? exchange, context),
      onResponseStart: (exchange, ...answer) =>
        handler.onResponseStart?.(straight?.controllerOf(exchange) ?? exchange, ...answer),
      onResponseData: (exchange, chunk) => {
        if (straight?.pass(chunk, exchange)) return;
        handler.onResponseData?.(exchange, Buffer.from(chunk));
      },
      onResponseEnd: (...given) => handler.onResponseEnd?.(...given),
      onResponseError: (...given) => handler.onResponseError?.(...given),
    });
