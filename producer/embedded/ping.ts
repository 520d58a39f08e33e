import { once } from 'node:events';
import { connect } from 'node:net';
import { messageOf } from '../../shared/errors.ts';

const bound = 2_000;

/**
 * Asks a Redis whether it takes commands: one that loads its data, or can't write it, answers with an error.
 * @returns the milliseconds that it took, or what it answered instead
 */
export async function pingRedis(socketPath: string): Promise<number | string> {
  const socket = connect(socketPath);
  const signal = AbortSignal.timeout(bound);
  try {
    await once(socket, 'connect', { signal });
    const begun = performance.now();
    // An inline command (Redis protocol).
    socket.write('PING\r\n');
    const [answer] = (await once(socket, 'data', { signal })) as [Buffer];
    const text = answer.toString().trim();
    return text === '+PONG' ? performance.now() - begun : text.replace(/^-/, '');
  } catch (error) {
    return signal.aborted ? `no answer in ${bound / 1000} s` : messageOf(error);
  } finally {
    socket.on('error', () => {});
    socket.destroy();
  }
}
