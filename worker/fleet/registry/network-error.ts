import { DrayError, errnoOf, messageOf } from '../../../shared/errors.ts';

const certificateProblem = /CERT|SELF_SIGNED|UNABLE_TO_(?:GET|VERIFY|DECRYPT)|HOSTNAME_MISMATCH/;
const wantsClient =
  /ALERT_(?:CERTIFICATE_REQUIRED|BAD_CERTIFICATE|UNKNOWN_CA|CERTIFICATE_UNKNOWN)$/;
const closedLater = 'UND_ERR_SOCKET';
const noTLS = /^(?:ERR_SSL_|EPROTO)/;
const notHTTP = /^(?:HPE_|UND_ERR_HEADERS_OVERFLOW$|UND_ERR_RESPONSE$)/;

/** Whether a failed https request may have failed because the other side speaks plain http. */
export function mayBePlainHttp(error: unknown): boolean {
  if (!(error instanceof DrayError) || error.code !== 'REGISTRY_UNAVAILABLE') return false;
  const code = String(error.context.cause ?? '');
  // A connection that closed after it stood did speak TLS.
  return code !== 'ECONNREFUSED' && code !== closedLater && !certificateProblem.test(code);
}

/**
 * What went wrong between us and `url`, as an error that says so. A caller's own reason to stop passes through.
 * @param action what was being done, as in `GET /v2/…`
 * @param proxy what was in between
 */
export function networkError(
  error: unknown,
  action: string,
  url: URL,
  signal?: AbortSignal,
  proxy?: URL,
): unknown {
  if (signal?.aborted && !isTimeout(signal.reason)) return signal.reason;
  if (error instanceof DrayError) return error;
  const { code, message } = rootOf(error);
  const place =
    proxy === undefined
      ? hostAndPort(url)
      : `${hostAndPort(url)} (through the proxy ${proxy.host})`;
  const context = { host: hostAndPort(url), cause: code };
  if (wantsClient.test(code)) {
    return new DrayError(
      'DENIED',
      `${place} does not accept our certificate, or wants one: ${message}`,
      {
        cause: error,
        context,
        hint: 'Name the certificate and its key in the hosts.toml of the registry (client).',
      },
    );
  }
  if (certificateProblem.test(code)) {
    return new DrayError(
      'REGISTRY_UNAVAILABLE',
      `The certificate of ${place} is not trusted: ${message}`,
      {
        cause: error,
        context,
        hint: "Name the registry's authority in its hosts.toml (ca), or add it to the system's, or to the file that NODE_EXTRA_CA_CERTS names.",
      },
    );
  }
  if (notHTTP.test(code)) {
    return new DrayError('REGISTRY_PROTOCOL', `${place} does not speak HTTP: ${message}`, {
      cause: error,
      context,
      hint: 'Check host and port.',
    });
  }
  // The name service has answered; one that does not answer is EAI_AGAIN (getaddrinfo(3), EAI_NONAME).
  if (code === 'ENOTFOUND' && proxy === undefined) {
    return new DrayError('REGISTRY_UNAVAILABLE', `There is no host ${url.hostname} (${action})`, {
      cause: error,
      context,
      hint: "Check the registry's name, and that the workers can look up names in the internet.",
    });
  }
  return new DrayError('REGISTRY_UNAVAILABLE', `${place} failed: ${message} (${action})`, {
    retryable: true,
    cause: error,
    context,
    hint: hintFor(code, url, proxy),
  });
}

function hintFor(code: string, url: URL, proxy: URL | undefined): string {
  if (noTLS.test(code)) {
    return 'If it is yours and speaks plain http, name it in DRAY_PLAIN_HTTP or registries.plainHttp.';
  }
  if (proxy !== undefined) {
    return 'Check the proxy (HTTP_PROXY, HTTPS_PROXY, NO_PROXY), and that it can reach the registry.';
  }
  if (code === closedLater && url.protocol === 'https:') {
    return 'Check that the registry is up. If it wants a certificate of ours, name that in its hosts.toml (client).';
  }
  return 'Check that the registry is up and can be reached from the workers.';
}

export function hostAndPort(url: URL): string {
  return url.port === '' ? `${url.hostname}:${url.protocol === 'http:' ? 80 : 443}` : url.host;
}

function isTimeout(reason: unknown): boolean {
  return reason instanceof Error && reason.name === 'TimeoutError';
}

/** Several addresses that failed come as one error without a message: the first of them says more. */
function rootOf(error: unknown): { code: string; message: string } {
  if (error instanceof AggregateError && error.errors.length > 0) {
    const all = [...new Set(error.errors.map(messageOf))].join('; ');
    return { code: errnoOf(error.errors[0]) ?? errnoOf(error) ?? '', message: all };
  }
  if (isTimeout(error)) return { code: 'TIMEOUT', message: 'it took too long' };
  return { code: errnoOf(error) ?? '', message: messageOf(error) };
}
