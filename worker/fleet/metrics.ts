import { Counter } from 'prom-client';
import { metrics } from '../../shared/telemetry/metrics.ts';

export const registryRequests = new Counter({
  name: 'dray_registry_requests_total',
  help: 'Answers of registries, by their HTTP status; 429 is a throttled request',
  labelNames: ['code'] as const,
  registers: [metrics],
});

export const throttles = new Counter({
  name: 'dray_registry_throttles_total',
  help: 'Requests that were put off before they were sent, by the limit: rate, concurrent, bandwidth, or paused (the registry asked for it)',
  labelNames: ['limit'] as const,
  registers: [metrics],
});

export const mismatches = new Counter({
  name: 'dray_digest_mismatches_total',
  help: 'Blobs whose bytes did not have the digest or the size that they should',
  registers: [metrics],
});
