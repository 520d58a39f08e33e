import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { json } from 'node:stream/consumers';
import { setTimeout as sleep } from 'node:timers/promises';

/** A span as it came over the wire (OTLP/HTTP, JSON: opentelemetry-proto, trace.proto). */
export interface CollectedSpan {
  service: string;
  name: string;
  traceId: string;
  spanId: string;
  parentSpanId?: string;
  attributes: Record<string, unknown>;
}

/** A collector that keeps what it gets. */
export interface TestCollector extends AsyncDisposable {
  /** For OTEL_EXPORTER_OTLP_ENDPOINT. */
  url: string;
  spans: CollectedSpan[];
  /** Waits until the spans are as wanted. @throws with their names when they do not get so */
  until: (isDone: (spans: CollectedSpan[]) => boolean) => Promise<void>;
}

interface WireValue {
  stringValue?: string;
  intValue?: number | string;
  boolValue?: boolean;
}

interface Wire {
  resourceSpans: {
    resource: { attributes: { key: string; value: WireValue }[] };
    scopeSpans: {
      spans: (Omit<CollectedSpan, 'service' | 'attributes'> & {
        attributes: { key: string; value: WireValue }[];
      })[];
    }[];
  }[];
}

export async function startCollector(): Promise<TestCollector> {
  const spans: CollectedSpan[] = [];
  const server = createServer(async (request, response) => {
    const { resourceSpans } = (await json(request)) as Wire;
    for (const { resource, scopeSpans } of resourceSpans) {
      const service = String(attributesOf(resource.attributes)['service.name']);
      for (const span of scopeSpans.flatMap((each) => each.spans)) {
        spans.push({ ...span, service, attributes: attributesOf(span.attributes) });
      }
    }
    response.setHeader('content-type', 'application/json').end('{}');
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    spans,
    until: async (isDone) => {
      for (let waited = 0; !isDone(spans); waited += 50) {
        if (waited > 60_000) {
          const seen = spans.map(({ service, name }) => `${service}: ${name}`);
          throw new Error(`the collector has other spans:\n${seen.join('\n')}`);
        }
        await sleep(50);
      }
    },
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
}

function attributesOf(list: { key: string; value: WireValue }[]): Record<string, unknown> {
  return Object.fromEntries(list.map(({ key, value }) => [key, Object.values(value)[0]]));
}
