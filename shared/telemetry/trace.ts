import type { Telemetry } from 'bullmq';
import type { Config } from '../config/config.ts';

/** A piece of work that has begun; what turns out on the way is added to it. */
export interface TraceSpan {
  set(attributes: TraceAttributes): void;
}

export type TraceAttributes = Record<string, string | number | boolean>;

export interface SpanOptions {
  attributes?: TraceAttributes;
  /** server: somebody else asked for it; client: it is asked of somebody else. Default: internal. */
  kind?: 'server' | 'client' | 'internal';
  /** Headers of a request (W3C Trace Context): the work belongs to its caller's trace. */
  headers?: Record<string, unknown>;
}

/** What carries traces; one a process. */
export interface Tracing extends AsyncDisposable {
  span<T>(name: string, options: SpanOptions, work: (span: TraceSpan) => Promise<T>): Promise<T>;
  /** Of the span that the caller is in. */
  ids(): { trace_id: string; span_id: string } | undefined;
  /** Lets the queues hand a trace from who adds a job to who takes it. */
  queues: Telemetry;
}

let tracing: Tracing | undefined;

/**
 * Starts sending traces, where the configuration has a collector; OpenTelemetry is loaded only then. Disposing what
 * it gives sends what has not been sent, within two seconds.
 */
export async function startTracing(
  { traces }: Pick<Config, 'traces'>,
  service: string,
): Promise<AsyncDisposable> {
  if (traces.endpoint === undefined) return { [Symbol.asyncDispose]: async () => {} };
  const { openTracing } = await import('./otlp.ts');
  const opened = openTracing(traces.endpoint, service);
  tracing = opened;
  return {
    async [Symbol.asyncDispose]() {
      tracing = undefined;
      await opened[Symbol.asyncDispose]();
    },
  };
}

/** Does work as a span of the trace that the caller is in, or of a new one. Without tracing it is just done. */
export function traced<T>(
  name: string,
  options: SpanOptions,
  work: (span: TraceSpan) => Promise<T>,
): Promise<T> {
  return tracing === undefined ? work(nothing) : tracing.span(name, options, work);
}

const nothing: TraceSpan = { set: () => {} };

/** For log lines. */
export function traceIds(): { trace_id: string; span_id: string } | undefined {
  return tracing?.ids();
}

/** The options of BullMQ's ends that carry traces; none without tracing. */
export function queueTelemetry(): { telemetry?: Telemetry } {
  return tracing === undefined ? {} : { telemetry: tracing.queues };
}
