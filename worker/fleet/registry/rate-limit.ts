import type { IncomingHttpHeaders } from 'node:http';
import type { Quota } from './exchange-budget.ts';
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
 * What the RateLimit headers of an answer say is left, of the limit that is met first: `RateLimit: "name";r=5;t=30` with
 * `RateLimit-Policy: "name";q=100;w=60` (draft-ietf-httpapi-ratelimit-headers), its older form `limit=100, remaining=5,
 * reset=30`, or `RateLimit-Remaining` with `-Limit` and `-Reset`, also with X- in front, in seconds from now or since
 * 1970. Docker Hub sends `ratelimit-remaining: 76;w=21600`, a window in seconds, and no reset. Undefined when they say
 * nothing.
 */
export function quotaOf(headers: IncomingHttpHeaders, now = Date.now()): Quota | undefined {
  const said = [...ofField(headers), ...ofHeaders(headers, now)].flatMap((each) =>
    each.left === undefined ? [] : [{ ...each, left: Math.floor(each.left) } as Quota],
  );
  // Where several are used up, the one that lasts longest.
  return said.sort((a, b) => a.left - b.left || (b.resetMs ?? 0) - (a.resetMs ?? 0))[0];
}

/** Milliseconds, between one second and 15 minutes, to wait for more when nothing is left; undefined when it is not said. */
export function exhaustedMs(quota: Quota | undefined): number | undefined {
  return quota?.left === 0 && quota.resetMs !== undefined ? clamp(quota.resetMs) : undefined;
}

type Said = { [key in keyof Quota]?: Quota[key] | undefined };

/** Of the field RateLimit: a list of named items, or a dictionary (RFC 9651). */
function ofField(headers: IncomingHttpHeaders): Said[] {
  const items = (headerOf(headers, 'ratelimit') ?? '').split(',');
  const policies = (headerOf(headers, 'ratelimit-policy') ?? '').split(',');
  const whole = items.join(';');
  if (parameter(`;${whole}`, 'remaining') !== undefined) items.push(`;${whole}`);
  return items.map((item) => {
    const name = nameOf(item);
    const policy = policies.find((one) => nameOf(one) === name) ?? '';
    return {
      left: parameter(item, 'r') ?? parameter(item, 'remaining'),
      limit: parameter(policy, 'q') ?? parameter(item, 'limit'),
      resetMs: inMs(parameter(item, 't') ?? parameter(item, 'reset')),
      windowMs: inMs(parameter(policy, 'w')),
    };
  });
}

function ofHeaders(headers: IncomingHttpHeaders, now: number): Said[] {
  return ['ratelimit', 'x-ratelimit'].map((prefix) => {
    const of = (name: string) => number(headerOf(headers, `${prefix}-${name}`));
    const reset = of('reset');
    const limits = headerOf(headers, `${prefix}-limit`) ?? '';
    // `100;w=21600`; after it may come others: `10, 10;w=1, 50;w=60`.
    const policy = limits
      .split(',')
      .find((one) => number(one) === of('limit') && one.includes(';'));
    const since = reset !== undefined && reset > epochSeconds ? now : 0;
    return {
      left: of('remaining'),
      limit: of('limit'),
      resetMs: reset === undefined ? undefined : reset * 1000 - since,
      windowMs: inMs(parameter(policy ?? '', 'w')),
    };
  });
}

function nameOf(item: string): string {
  return item.split(';')[0]?.trim() ?? '';
}

function inMs(seconds: number | undefined): number | undefined {
  return seconds === undefined ? undefined : seconds * 1000;
}

/** The parameter of an item of a structured field. */
function parameter(item: string, name: string): number | undefined {
  const found = item
    .split(';')
    .slice(1)
    .map((part) => part.trim())
    .find((part) => part.startsWith(`${name}=`));
  return number(found?.slice(name.length + 1));
}

/** `76`, `76;w=21600` as Docker Hub has it, or the first of `10, 10;w=1, 50;w=60`. */
function number(text: string | undefined): number | undefined {
  const digits = /^\s*(\d{1,12}(?:\.\d{1,9})?)\s*(?:[;,]|$)/.exec(text ?? '')?.[1];
  return digits === undefined ? undefined : Number(digits);
}

function clamp(ms: number): number {
  return Math.min(maxWaitMs, Math.max(minWaitMs, Math.ceil(ms)));
}
