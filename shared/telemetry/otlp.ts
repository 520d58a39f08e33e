import { setTimeout as sleep } from 'node:timers/promises';
import {
  context,
  propagation,
  type Span,
  SpanKind,
  SpanStatusCode,
  trace,
} from '@opentelemetry/api';
import { OTLPTraceExporter } from '@opentelemetry/exporter-trace-otlp-http';
import {
  defaultResource,
  detectResources,
  envDetector,
  resourceFromAttributes,
} from '@opentelemetry/resources';
import { BatchSpanProcessor, NodeTracerProvider } from '@opentelemetry/sdk-trace-node';
import { SpanKind as QueueSpanKind, type Telemetry } from 'bullmq';
import { BullMQOtel } from 'bullmq-otel';
import { messageOf } from '../errors.ts';
import type { SpanOptions, Tracing } from './trace.ts';

/** Milliseconds in which what has not been sent is sent at the end. */
const flushBound = 2_000;
const scope = 'drayage';

const kinds = {
  server: SpanKind.SERVER,
  client: SpanKind.CLIENT,
  internal: SpanKind.INTERNAL,
} as const;

/**
 * Sends spans to a collector by OTLP over HTTP. The standard variables of OpenTelemetry hold: headers, sampler,
 * resource attributes, batching (opentelemetry-specification, sdk-environment-variables).
 * @param endpoint where traces go: the whole URL
 */
export function openTracing(endpoint: string, service: string): Tracing {
  const provider = new NodeTracerProvider({
    // What the environment says of the service wins.
    resource: defaultResource()
      .merge(resourceFromAttributes({ 'service.name': `drayage-${service}` }))
      .merge(detectResources({ detectors: [envDetector] })),
    spanProcessors: [new BatchSpanProcessor(new OTLPTraceExporter({ url: endpoint }))],
  });
  provider.register();
  const tracer = trace.getTracer(scope);
  return {
    async span(name, { attributes = {}, kind = 'internal', headers }: SpanOptions, work) {
      const parent =
        headers === undefined ? context.active() : propagation.extract(context.active(), headers);
      return await tracer.startActiveSpan(
        name,
        { kind: kinds[kind], attributes },
        parent,
        async (span) => {
          try {
            return await work({ set: (more) => span.setAttributes(more) });
          } catch (error) {
            failed(span, error);
            throw error;
          } finally {
            span.end();
          }
        },
      );
    },
    ids() {
      const active = trace.getActiveSpan()?.spanContext();
      return active === undefined
        ? undefined
        : { trace_id: active.traceId, span_id: active.spanId };
    },
    queues: withinTraces(new BullMQOtel({ tracerName: scope })),
    async [Symbol.asyncDispose]() {
      // A collector that is away holds nobody up.
      await Promise.race([
        provider.shutdown().catch(() => {}),
        sleep(flushBound, undefined, { ref: false }),
      ]);
    },
  };
}

function failed(span: Span, error: unknown): void {
  const { code } = error as { code?: unknown };
  if (typeof code === 'string') span.setAttribute('error.type', code);
  span.setStatus({ code: SpanStatusCode.ERROR, message: messageOf(error) });
}

/** What the queues do by themselves, polling and checking, would be a trace each time: only jobs are. */
function withinTraces({ tracer, contextManager }: Telemetry): Telemetry {
  const nothing = {
    setSpanOnContext: <Context>(on: Context) => on,
    setAttribute() {},
    setAttributes() {},
    addEvent() {},
    recordException() {},
    end() {},
  };
  return {
    contextManager,
    tracer: {
      startSpan(name, options, parent) {
        const isWithin = trace.getSpan(parent ?? context.active()) !== undefined;
        const isJob = options?.kind === QueueSpanKind.CONSUMER;
        return isWithin || isJob ? tracer.startSpan(name, options, parent) : nothing;
      },
    },
  };
}
