import { once } from 'node:events';
import net from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';

/** A port on loopback that leads to another one, no faster than told: a registry far away. */
export interface SlowLink extends AsyncDisposable {
  /** `localhost:PORT`. */
  host: string;
  /** Changes the speed of what flows from now on; 0 stops it. */
  setRate: (bytesPerSecond: number) => void;
  /** Stops as `setRate(0)` does once so many more bytes have come back through it. */
  stopAfter: (bytes: number) => void;
  /** Bytes that came back through it so far. */
  passed: () => number;
  /** Breaks every connection. */
  cut: () => void;
}

export async function startSlowLink(
  target: string,
  options: { bytesPerSecond: number; address?: string },
): Promise<SlowLink> {
  let rate = options.bytesPerSecond;
  let passed = 0;
  let stopAt = Number.POSITIVE_INFINITY;
  const sockets = new Set<net.Socket>();
  const [targetHost = 'localhost', targetPort = ''] = target.split(':');
  const server = net.createServer((client) => {
    const upstream = net.connect(Number(targetPort), targetHost);
    for (const socket of [client, upstream]) {
      sockets.add(socket);
      socket.on('error', () => {});
      socket.on('close', () => {
        sockets.delete(socket);
        client.destroy();
        upstream.destroy();
      });
    }
    client.pipe(upstream);
    void forward(upstream, client);
  });
  async function forward(from: net.Socket, to: net.Socket): Promise<void> {
    try {
      for await (const chunk of from as AsyncIterable<Buffer>) {
        for (let at = 0; at < chunk.length; ) {
          while (rate === 0) {
            if (to.destroyed) return;
            await sleep(5);
          }
          const slice = chunk.subarray(at, at + Math.max(1, Math.ceil(rate / 100)));
          at += slice.length;
          passed += slice.length;
          if (passed >= stopAt) rate = 0;
          if (!to.write(slice)) await once(to, 'drain');
          if (rate > 0 && rate < 1e9) await sleep((slice.length / rate) * 1000);
        }
      }
      to.end();
    } catch {
      to.destroy();
    }
  }
  const { address = 'localhost' } = options;
  server.listen(0, address);
  await once(server, 'listening');
  const { port } = server.address() as net.AddressInfo;
  return {
    host: `${address}:${port}`,
    setRate: (bytesPerSecond) => {
      rate = bytesPerSecond;
      stopAt = Number.POSITIVE_INFINITY;
    },
    stopAfter: (bytes) => {
      stopAt = passed + bytes;
    },
    passed: () => passed,
    cut: () => {
      for (const socket of sockets) socket.destroy();
    },
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy();
      server.close();
      await once(server, 'close');
    },
  };
}
