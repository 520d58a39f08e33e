import { AsyncResource } from 'node:async_hooks';
import { finished, type Readable } from 'node:stream';
import type { Straight } from './straight.ts';

/** Takes a chunk, which is another's after; a promise says when that is, and that no more may come until then. */
export type Take = (chunk: Uint8Array) => Promise<void> | undefined;

/**
 * Gives each chunk of a body to `take` at once when it comes in, and holds the body back while `take` asks for it.
 * An iteration, with its promises for each chunk, costs as much CPU as receiving the bytes does.
 * Ends when nothing is in use any more.
 * @param options.failed what is thrown for what broke the body off
 * @param options.straight the way past the body's stream, if it has one
 * @throws what `take` threw, and `failed` of what broke the body off
 */
export async function flow(
  body: Readable,
  take: Take,
  options: { failed: (error: unknown) => unknown; straight?: Straight | undefined },
): Promise<void> {
  const { failed, straight } = options;
  const ended = Promise.withResolvers<void>();
  let refused: { error: unknown } | undefined;
  let pending: Promise<void> | undefined;
  const refuse = (error: unknown) => {
    refused ??= { error };
    body.destroy();
  };
  // The events come in the connection's context, not in the caller's.
  const ours = AsyncResource.bind(take);
  finished(body, (error) => {
    if (error === undefined || error === null) ended.resolve();
    else ended.reject(failed(error));
  });
  const give = (chunk: Buffer) => {
    if (refused !== undefined) return;
    try {
      const taking = ours(chunk);
      if (taking === undefined) return straight?.goOn();
      body.pause();
      pending = taking.then(() => {
        pending = undefined;
        body.resume();
        straight?.goOn();
      }, refuse);
    } catch (error) {
      refuse(error);
    }
  };
  straight?.open(body, give);
  body.on('data', give);
  const broken = await ended.promise.then(
    () => undefined,
    (error: unknown) => ({ error }),
  );
  // A body may end while its last chunk is in use.
  await pending;
  const failure = refused ?? broken;
  if (failure !== undefined) throw failure.error;
}
