import { DrayError, errnoOf, messageOf } from '../../errors.ts';

/** Codes of servers and of the SDK that mean that nobody knows who we are. */
const unknownCaller = new Set([
  'InvalidAccessKeyId',
  'SignatureDoesNotMatch',
  'ExpiredToken',
  'InvalidToken',
  'CredentialsProviderError',
  'RequestTimeTooSkewed',
  'Unauthorized',
]);

/** Codes of answers to bytes that were changed or cut on their way: the next try may bring them whole. */
const brokenOnTheWay = new Set([
  'BadDigest',
  'IncompleteBody',
  'InvalidDigest',
  'RequestTimeout',
  'XAmzContentSHA256Mismatch',
]);

/** What a failed call to S3 is, in two words: the SDK's name or the errno, and the HTTP status if there was an answer. */
export function s3Failure(error: unknown): { name: string; status: number | undefined } {
  const name = error instanceof Error ? error.name : 'Error';
  if (typeof error !== 'object' || error === null) return { name, status: undefined };
  const metadata = '$metadata' in error ? error.$metadata : undefined;
  const status =
    typeof metadata === 'object' && metadata !== null && 'httpStatusCode' in metadata
      ? metadata.httpStatusCode
      : undefined;
  return { name, status: typeof status === 'number' ? status : undefined };
}

/**
 * What a failed call means to whoever uses the store. `place` names bucket and endpoint, `key` what was asked for.
 * A signal's reason passes as it is.
 */
export function s3Error(
  error: unknown,
  place: string,
  options: { key?: string; signal?: AbortSignal | undefined },
): unknown {
  const { key, signal } = options;
  if (signal?.aborted) return signal.reason;
  if (error instanceof DrayError) return error;
  const { name, status } = s3Failure(error);
  const errno = errnoOf(error);
  const context = {
    place,
    ...(key === undefined ? {} : { key }),
    ...(status === undefined ? {} : { status }),
  };
  const what = `${errno ?? name}${status === undefined ? '' : ` (${status})`}`;
  if (name === 'NoSuchBucket') {
    return new DrayError('STORE_UNAVAILABLE', `There is no ${place}`, {
      cause: error,
      hint: 'Create the bucket, or correct DRAY_STORE.',
      context,
    });
  }
  if (status === 404) {
    return new DrayError('NOT_FOUND', `${key ?? 'What was asked for'} is not in ${place}`, {
      cause: error,
      context,
    });
  }
  if (unknownCaller.has(name) || status === 401) {
    return new DrayError('UNAUTHORIZED', `${place} does not accept the credentials: ${what}`, {
      cause: error,
      hint: 'Check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (or the profile, or the role), the region and the clock.',
      context,
    });
  }
  if (status === 403) {
    return new DrayError('DENIED', `${place} refuses the request: ${what}`, {
      cause: error,
      hint: 'Check that the AWS credentials are right, and that they may list the bucket and get, put and delete objects in it.',
      context,
    });
  }
  if (status === 507 || name === 'QuotaExceeded') {
    return new DrayError('NO_SPACE', `${place} is full: ${what}`, {
      cause: error,
      retryable: true,
      hint: 'Make room in it, or raise its quota.',
      context,
    });
  }
  const refused = status !== undefined && status >= 400 && status < 500;
  const passing =
    !refused ||
    brokenOnTheWay.has(name) ||
    (status !== undefined && [408, 409, 412, 425, 429].includes(status));
  return new DrayError('STORE_UNAVAILABLE', `${place} failed: ${what}: ${messageOf(error)}`, {
    cause: error,
    retryable: passing,
    hint: passing
      ? 'Check that the S3 server runs and that this machine reaches it.'
      : 'Check the endpoint, the region and the bucket of the content store.',
    context,
  });
}
