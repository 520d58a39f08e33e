import { createHash } from 'node:crypto';
import { getCACertificates } from 'node:tls';

/** How a host is trusted, and how it knows us. */
export interface TlsSettings {
  /** Certificates (PEM) that are trusted besides the system's. */
  ca?: string[];
  /** Pairs of certificate and key (PEM) that are shown to a host that asks for one. */
  client?: { cert: string; key: string }[];
  /** Any certificate will do. */
  skipVerify?: boolean;
  /** Milliseconds until a connection stands. */
  connectMs?: number;
}

/** The part that holds for other hosts, too, where a host sends us for a token: whom to trust, and no client's key. */
export function authoritiesOf({ ca, connectMs }: TlsSettings): TlsSettings {
  return { ...(ca === undefined ? {} : { ca }), ...(connectMs === undefined ? {} : { connectMs }) };
}

/** The part that holds for where a host redirects to: what it serves is checked by digest. */
export function withoutClient({ client: _, ...rest }: TlsSettings): TlsSettings {
  return rest;
}

/** The same for the same settings. */
export function tlsKey(settings: TlsSettings | undefined): string {
  if (settings === undefined) return '';
  return createHash('sha256').update(JSON.stringify(settings)).digest('hex');
}

/** As tls.connect takes them. */
export function connectOptions(settings: TlsSettings) {
  const { ca = [], client = [], skipVerify = false } = settings;
  return {
    ...(ca.length === 0 ? {} : { ca: [...getCACertificates('default'), ...ca] }),
    ...(client.length === 0
      ? {}
      : { cert: client.map(({ cert }) => cert), key: client.map(({ key }) => key) }),
    ...(skipVerify ? { rejectUnauthorized: false } : {}),
  };
}
