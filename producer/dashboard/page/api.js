/** @typedef {import('../../client/api.ts').Problem} Problem */

const tokenKey = 'dray.token';

/** What the API refused, with what can be done. */
export class ApiError extends Error {
  /** @param {Pick<Problem, 'status' | 'detail' | 'hint'>} problem */
  constructor({ status, detail, hint }) {
    super(detail);
    this.status = status;
    this.hint = hint;
  }
}

/** The token is kept for this tab alone, and until it is closed. */
export function hasToken() {
  return sessionStorage.getItem(tokenKey) !== null;
}

/** @param {string} token */
export function signIn(token) {
  sessionStorage.setItem(tokenKey, token);
}

export function signOut() {
  sessionStorage.removeItem(tokenKey);
  askForToken('');
}

/** @param {string} why the one that there is was refused */
function askForToken(why) {
  window.dispatchEvent(new CustomEvent('dray-signed-out', { detail: why }));
}

/**
 * @template T
 * @param {string} path
 * @param {{ method?: string, signal?: AbortSignal }} [options]
 * @returns {Promise<T>}
 */
export async function ask(path, { method = 'GET', signal } = {}) {
  const token = sessionStorage.getItem(tokenKey);
  const headers = token === null ? {} : { authorization: `Bearer ${token}` };
  /** @type {Response} */
  let response;
  try {
    const limit = AbortSignal.timeout(20_000);
    const both = signal === undefined ? limit : AbortSignal.any([signal, limit]);
    response = await fetch(path, { method, headers, signal: both, cache: 'no-store' });
  } catch {
    signal?.throwIfAborted();
    throw new ApiError({ status: 0, detail: 'The API can’t be reached' });
  }
  const text = await response.text();
  if (response.ok) return /** @type {T} */ (text === '' ? undefined : JSON.parse(text));
  const problem = problemOf(text, response.status);
  if (response.status === 401) askForToken(problem.detail);
  throw new ApiError(problem);
}

/** @param {string} text @param {number} status @returns {Pick<Problem, 'status' | 'detail' | 'hint'>} */
function problemOf(text, status) {
  try {
    const problem = JSON.parse(text);
    if (typeof problem.detail === 'string') return { ...problem, status };
  } catch {
    // Something between here and the API has answered.
  }
  return { status, detail: `The answer was ${status}` };
}
