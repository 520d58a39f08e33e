import { s3Failure } from './errors.ts';

type Call = 'put' | 'replace' | 'complete' | 'remove';

/**
 * Conditional requests, where the server has them: one that says that it does not is asked without, from then on.
 * Most of what they guard are objects under digests, where the last writer changes nothing: without them a blob may be
 * written twice, and never wrongly. (Ceph ignores the condition of a completed upload, and those of removals.) Without
 * `replace`, of two changes of a record at the same moment the last one stands.
 */
export class Conditions {
  readonly #missing = new Set<Call>();

  async ask<Condition extends object, T>(
    call: Call,
    condition: Condition,
    send: (condition: Partial<Condition>) => Promise<T>,
  ): Promise<T> {
    if (this.#missing.has(call)) return await send({});
    try {
      return await send(condition);
    } catch (error) {
      const { name, status } = s3Failure(error);
      if (status !== 501 && name !== 'NotImplemented') throw error;
      this.#missing.add(call);
      return await send({});
    }
  }
}

/** An object as the source of a copy. */
export function copySource(bucket: string, key: string): string {
  return [bucket, ...key.split('/')].map(encodeURIComponent).join('/');
}

/** @throws the signal's reason */
export function send(signal: AbortSignal | undefined): { abortSignal?: AbortSignal } {
  signal?.throwIfAborted();
  return signal === undefined ? {} : { abortSignal: signal };
}
