import type { IncomingHttpHeaders } from 'node:http';
import { headerOf } from './header.ts';

const minWaitMs = 1_000;
const maxWaitMs = 15 * 60_000;
const unreadableWaitMs = 10_000;
/** Seconds that are more than any reset: a time since 1970, as some servers send it. */
const epochSeconds = 1_000_000_000;

/**
 * Milliseconds to wait by a Retry-After header (RFC 9110, section 10.2.3), between one second and 15 minutes;
 * undefined without one.
 */
export function retryAfterMs(header: string | undefined, now = Date.now()): number | undefined {
  if (header === undefined) return undefined;
  const text = header.trim();
  const wait = /^\d+(?:\.\d+)?$/.test(text) ? Number(text) * 1000 : Date.parse(text) - now;
  return Number.isNaN(wait) ? unreadableWaitMs : clamp(wait);
}

/**
 * Milliseconds to wait, within the same bounds, when the RateLimit headers of an answer say that it was the last one
 * that is allowed: `RateLimit: "name";r=0;t=30`, or the older `RateLimit-Remaining: 0` with `RateLimit-Reset`, also
 * with X- in front, in seconds from now or since 1970. Undefined when more is allowed, or when they don't say until
 * when: the answer of status 429 that follows then says it.
 */
export function exhaustedMs(headers: IncomingHttpHeaders, now = Date.now()): number | undefined {
  const waits = (headerOf(headers, 'ratelimit') ?? '').split(',').flatMap((item) => {
    const remaining = parameter(item, 'r');
    const reset = parameter(item, 't');
    return remaining === 0 && reset !== undefined ? [reset * 1000] : [];
  });
  for (const prefix of ['ratelimit', 'x-ratelimit']) {
    const remaining = number(headerOf(headers, `${prefix}-remaining`));
    const reset = number(headerOf(headers, `${prefix}-reset`));
    if (remaining !== 0 || reset === undefined) continue;
    waits.push(reset * 1000 - (reset > epochSeconds ? now : 0));
  }
  return waits.length === 0 ? undefined : clamp(Math.max(...waits));
}

/** The parameter of an item of a structured field (RFC 9651). */
function parameter(item: string, name: string): number | undefined {
  const found = item
    .split(';')
    .slice(1)
    .map((part) => part.trim())
    .find((part) => part.startsWith(`${name}=`));
  return number(found?.slice(name.length + 1));
}

/** `76`, or `76;w=21600` as Docker Hub has it. */
function number(text: string | undefined): number | undefined {
  const digits = /^\s*(\d{1,12})(?:\.\d+)?\s*(?:;|$)/.exec(text ?? '')?.[1];
  return digits === undefined ? undefined : Number(digits);
}

function clamp(ms: number): number {
  return Math.min(maxWaitMs, Math.max(minWaitMs, Math.ceil(ms)));
}
