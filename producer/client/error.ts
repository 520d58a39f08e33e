import type { Problem } from './api.ts';

/** What the API refused, or could not do. */
export class DrayageError extends Error {
  override readonly name = 'DrayageError';
  /** The stable code, as `REFERENCE_INVALID`; `UNREACHABLE` when no API answered. */
  readonly code: string;
  /** Of HTTP; 0 when no API answered. */
  readonly status: number;
  readonly retryable: boolean;
  /** What can be done. */
  readonly hint: string | undefined;

  constructor(problem: Omit<Problem, 'type' | 'title'>, options?: ErrorOptions) {
    super(problem.detail, options);
    this.code = problem.code;
    this.status = problem.status;
    this.retryable = problem.retryable;
    this.hint = problem.hint;
  }
}

/** The problem that an answer holds, or what can be said of one that something in between has given. */
export async function refusal(response: Response): Promise<DrayageError> {
  const { status } = response;
  const text = await response.text();
  try {
    const problem = JSON.parse(text) as Problem;
    if (typeof problem.code === 'string') return new DrayageError(problem);
  } catch {
    // No JSON: it is not the API's.
  }
  const detail = `${response.url} was answered ${status}: ${text.slice(0, 200)}`;
  return new DrayageError({ code: 'UNREACHABLE', status, detail, retryable: status >= 500 });
}

export function unreachable(url: string, cause: unknown): DrayageError {
  const reason = cause instanceof Error ? (cause.cause ?? cause) : cause;
  const detail = `${url} can't be reached: ${reason instanceof Error ? reason.message : reason}`;
  return new DrayageError({ code: 'UNREACHABLE', status: 0, detail, retryable: true }, { cause });
}
