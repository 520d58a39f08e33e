/** A worker thread: uncompressed bytes to files. */
import { writeLayer } from './entry-writer.ts';
import { Cancelled } from './ring.ts';
import { serveThread } from './serve-thread.ts';
import { TarReader } from './tar-reader.ts';
import { consumer } from './thread-protocol.ts';

serveThread(({ target, lowerDirs, limits, progress }, output) => {
  const done = new BigInt64Array(progress);
  let holding = 0;
  const pull = () => {
    if (holding > 0) {
      Atomics.add(done, 0, BigInt(holding));
      output.release(consumer.write);
    }
    const bytes = output.next(consumer.write);
    holding = bytes?.length ?? 0;
    return bytes;
  };
  const written = writeLayer(new TarReader(pull, limits), target, limits, {
    isCancelled: () => output.cancelled,
    lowerDirs,
  });
  if (output.cancelled) throw new Cancelled();
  return { write: written };
});
