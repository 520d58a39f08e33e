import { once } from 'node:events';
import { connect } from 'node:net';

const bound = 2_000;

/** Asks a Redis whether it takes commands. @returns the milliseconds that it took, undefined when it does not */
export async function pingRedis(socketPath: string): Promise<number | undefined> {
  const begun = performance.now();
  const socket = connect(socketPath);
  const signal = AbortSignal.timeout(bound);
  try {
    await once(socket, 'connect', { signal });
    // An inline command (Redis protocol): while it loads its data, the answer is an error.
    socket.write('PING\r\n');
    const [answer] = (await once(socket, 'data', { signal })) as [Buffer];
    return answer.toString().startsWith('+PONG') ? performance.now() - begun : undefined;
  } catch {
    return undefined;
  } finally {
    socket.on('error', () => {});
    socket.destroy();
  }
}
