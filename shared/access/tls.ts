import { readFileSync, statSync } from 'node:fs';
import type { Server, ServerOptions } from 'node:https';
import type { Config } from '../config/config.ts';
import { DrayError, messageOf } from '../errors.ts';
import type { Logger } from '../logging.ts';

export type TlsConfig = NonNullable<Config['api']['tls']>;

/** Milliseconds between two looks at the files. */
const lookInterval = 10_000;

/**
 * What a server needs for https. With an authority for clients, who has no certificate of it gets no connection.
 * @throws USAGE when a file can't be read
 */
export function tlsOptions({ cert, key, clientAuthority }: TlsConfig): ServerOptions {
  return {
    cert: read(cert),
    key: read(key),
    minVersion: 'TLSv1.2',
    ...(clientAuthority === undefined
      ? {}
      : { ca: read(clientAuthority), requestCert: true, rejectUnauthorized: true }),
  };
}

/** Takes over certificates that were renewed, for new connections. @returns ends it */
export function followCertificates(server: Server, tls: TlsConfig, log: Logger): () => void {
  let known = versionOf(tls);
  const timer = setInterval(() => {
    try {
      const version = versionOf(tls);
      if (version === known) return;
      server.setSecureContext(tlsOptions(tls));
      known = version;
      log.info({ certificate: tls.cert }, 'certificates taken over');
    } catch (error) {
      // Certificate and key are written one after the other: the next look finds both.
      log.warn({ err: error }, "renewed certificates can't be taken over yet");
    }
  }, lookInterval);
  timer.unref();
  return () => clearInterval(timer);
}

function versionOf({ cert, key, clientAuthority }: TlsConfig): string {
  return [cert, key, ...(clientAuthority === undefined ? [] : [clientAuthority])]
    .map((file) => statSync(file))
    .map(({ ino, mtimeMs, size }) => `${ino} ${mtimeMs} ${size}`)
    .join();
}

function read(file: string): Buffer {
  try {
    return readFileSync(file);
  } catch (error) {
    throw new DrayError('USAGE', `${file} can't be read: ${messageOf(error)}`, {
      cause: error,
      hint: 'Check the settings of the certificates, and the rights of the files.',
    });
  }
}
