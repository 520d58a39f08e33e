import type { ErrorCode } from './errors.ts';

const statuses: Partial<Record<ErrorCode, number>> = {
  USAGE: 400,
  REFERENCE_INVALID: 400,
  DIGEST_INVALID: 400,
  PLATFORM_INVALID: 400,
  PAYLOAD_INVALID: 400,
  UNAUTHORIZED: 401,
  DENIED: 403,
  NOT_FOUND: 404,
  IMAGE_UNKNOWN: 404,
  BLOB_UNKNOWN: 404,
  CONFLICT: 409,
  CONFIG_INVALID: 422,
  USER_UNKNOWN: 422,
  COMMAND_MISSING: 422,
  MANIFEST_INVALID: 422,
  MANIFEST_UNSUPPORTED: 422,
  LAYER_INVALID: 422,
  LAYER_LIMIT: 422,
  DIFFID_MISMATCH: 422,
  RATE_LIMITED: 429,
  CANCELLED: 499,
  STORE_UNAVAILABLE: 503,
  QUEUE_UNAVAILABLE: 503,
  AGENT_UNAVAILABLE: 503,
  NODE_LOST: 503,
  TIMEOUT: 504,
  NO_SPACE: 507,
};

/** The HTTP status that an error's code becomes at an API (RFC 9110, section 15). */
export function httpStatusOf(code: ErrorCode): number {
  return statuses[code] ?? 500;
}
