/**
 * What can go wrong, as stable codes. Code branches on `code`, never on a message. A code becomes an
 * exit code or an HTTP status only at the borders (producer/cli, worker/agent/api).
 */
export type ErrorCode =
  | 'USAGE'
  | 'REFERENCE_INVALID'
  | 'DIGEST_INVALID'
  | 'PLATFORM_INVALID'
  | 'NOT_FOUND'
  | 'CONFLICT'
  | 'CANCELLED'
  | 'TIMEOUT'
  | 'INTERNAL'
  // registry
  | 'IMAGE_UNKNOWN'
  | 'BLOB_UNKNOWN'
  | 'UNAUTHORIZED'
  | 'DENIED'
  | 'RATE_LIMITED'
  | 'REGISTRY_UNAVAILABLE'
  | 'REGISTRY_PROTOCOL'
  | 'ADDRESS_REFUSED'
  // content
  | 'DIGEST_MISMATCH'
  | 'SIZE_MISMATCH'
  | 'MANIFEST_INVALID'
  | 'MANIFEST_UNSUPPORTED'
  | 'PLATFORM_UNKNOWN'
  | 'STORE_UNAVAILABLE'
  // layers and snapshots
  | 'LAYER_INVALID'
  | 'LAYER_LIMIT'
  | 'DIFFID_MISMATCH'
  | 'NO_SPACE'
  // runtime
  | 'CONFIG_INVALID'
  | 'USER_UNKNOWN'
  | 'COMMAND_MISSING'
  | 'RUNTIME_FAILED'
  | 'TOOL_MISSING'
  | 'NOT_ROOT'
  // fleet
  | 'QUEUE_UNAVAILABLE'
  | 'AGENT_UNAVAILABLE'
  | 'VERSION_MISMATCH'
  | 'NODE_LOST'
  | 'PAYLOAD_INVALID'
  | 'WEBHOOK_FAILED'
  | 'PAYLOAD_NEWER';

export interface DrayErrorOptions {
  /** Whether the same call may succeed later without anybody changing anything. Default false. */
  retryable?: boolean;
  /** What the person who reads the message can do. */
  hint?: string;
  cause?: unknown;
  /** Plain values that say where: digests, hosts, paths. Never a secret. */
  context?: Record<string, string | number | boolean>;
}

/** On each of them: the command in one file has a copy of this module, and loads others that have their own. */
const mark = Symbol.for('drayage.DrayError');

/** The one error class. `message` says what happened and where; `hint` says what to do. */
export class DrayError extends Error {
  override readonly name = 'DrayError';
  readonly code: ErrorCode;
  readonly retryable: boolean;
  readonly hint: string | undefined;
  readonly context: Record<string, string | number | boolean>;

  constructor(code: ErrorCode, message: string, options: DrayErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.retryable = options.retryable ?? false;
    this.hint = options.hint;
    this.context = options.context ?? {};
  }

  get [mark](): true {
    return true;
  }

  static override [Symbol.hasInstance](value: unknown): boolean {
    return value instanceof Error && mark in value;
  }
}

/** The form in which an error crosses Redis, HTTP or a thread: `cause` does not survive those. */
export interface EncodedError {
  code: ErrorCode;
  message: string;
  retryable: boolean;
  hint?: string | undefined;
  context?: Record<string, string | number | boolean> | undefined;
}

/** Encodes any thrown value. What is no DrayError becomes INTERNAL and keeps its message. */
export function encodeError(error: unknown): EncodedError {
  if (error instanceof DrayError) {
    const encoded: EncodedError = {
      code: error.code,
      message: error.message,
      retryable: error.retryable,
    };
    if (error.hint !== undefined) encoded.hint = error.hint;
    if (Object.keys(error.context).length > 0) encoded.context = error.context;
    return encoded;
  }
  return { code: 'INTERNAL', message: messageOf(error), retryable: false };
}

/** The reverse of {@link encodeError}. */
export function decodeError(encoded: EncodedError): DrayError {
  return new DrayError(encoded.code, encoded.message, {
    retryable: encoded.retryable,
    ...(encoded.hint === undefined ? {} : { hint: encoded.hint }),
    ...(encoded.context === undefined ? {} : { context: encoded.context }),
  });
}

/** The message of any thrown value. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** The errno name (`ENOENT`, `ECONNREFUSED`, …) of a thrown value, if it has one. */
export function errnoOf(error: unknown): string | undefined {
  if (typeof error !== 'object' || error === null || !('code' in error)) return undefined;
  return typeof error.code === 'string' ? error.code : undefined;
}

/** The value as an Error that the caller can tell apart by `code`: DrayErrors pass through. */
export function asDrayError(error: unknown): DrayError {
  return error instanceof DrayError
    ? error
    : new DrayError('INTERNAL', messageOf(error), { cause: error });
}
