import { AsyncResource } from 'node:async_hooks';
import { finished, type Readable } from 'node:stream';

/** Takes a chunk; a promise says when the next one may come, and that the chunk is in use until then. */
export type Take = (chunk: Uint8Array) => Promise<void> | undefined;

/**
 * Gives each chunk of a body to `take` at once when it comes in, and holds the body back while `take` asks for it.
 * An iteration, with its promises for each chunk, costs as much CPU as receiving the bytes does.
 * Ends when nothing is in use any more.
 * @throws what `take` threw, and `failed` of what broke the body off
 */
export async function flow(
  body: Readable,
  take: Take,
  failed: (error: unknown) => unknown,
): Promise<void> {
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
  body.on('data', (chunk: Buffer) => {
    if (refused !== undefined) return;
    try {
      const taking = ours(chunk);
      if (taking === undefined) return;
      body.pause();
      pending = taking.then(() => {
        pending = undefined;
        body.resume();
      }, refuse);
    } catch (error) {
      refuse(error);
    }
  });
  const broken = await ended.promise.then(
    () => undefined,
    (error: unknown) => ({ error }),
  );
  // A body may end while its last chunk is in use.
  await pending;
  const failure = refused ?? broken;
  if (failure !== undefined) throw failure.error;
}
