import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';

const openssl = async (...args: string[]) => await promisify(execFile)('openssl', args);

/** A certificate and its key (PEM). */
export interface Issued {
  certificate: string;
  key: string;
}

export interface Authority {
  /** PEM. */
  certificate: string;
  /** @param names as in `DNS:localhost`; without any, the certificate is a client's */
  issue: (commonName: string, names?: string[]) => Promise<Issued>;
  [Symbol.asyncDispose]: () => Promise<void>;
}

const newKey = ['-nodes', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256'];

/** An authority that nobody trusts unasked, made by openssl. */
export async function makeAuthority(name: string): Promise<Authority> {
  const folder = await mkdtemp(path.join(tmpdir(), 'dray-authority-'));
  const inFolder = (file: string) => path.join(folder, file);
  await openssl(
    ...['req', '-x509', ...newKey, '-keyout', inFolder('ca.key'), '-out', inFolder('ca.pem')],
    ...['-days', '2', '-subj', `/CN=${name}`, '-addext', 'keyUsage=critical,keyCertSign,cRLSign'],
  );
  let count = 0;
  return {
    certificate: await readFile(inFolder('ca.pem'), 'utf8'),
    async issue(commonName, names = []) {
      const base = inFolder(`issued-${++count}`);
      const usage = names.length === 0 ? 'clientAuth' : 'serverAuth';
      const extensions = [
        'basicConstraints=CA:FALSE',
        `extendedKeyUsage=${usage}`,
        ...(names.length === 0 ? [] : [`subjectAltName=${names.join(',')}`]),
      ];
      await writeFile(`${base}.ext`, extensions.join('\n'));
      await openssl(
        ...['req', ...newKey, '-keyout', `${base}.key`, '-out', `${base}.csr`],
        ...['-subj', `/CN=${commonName}`],
      );
      await openssl(
        ...['x509', '-req', '-in', `${base}.csr`, '-CA', inFolder('ca.pem')],
        ...['-CAkey', inFolder('ca.key'), '-CAcreateserial', '-out', `${base}.pem`],
        ...['-days', '2', '-extfile', `${base}.ext`],
      );
      return {
        certificate: await readFile(`${base}.pem`, 'utf8'),
        key: await readFile(`${base}.key`, 'utf8'),
      };
    },
    async [Symbol.asyncDispose]() {
      await rm(folder, { recursive: true });
    },
  };
}
