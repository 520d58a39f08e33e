import { invalid } from './limits.ts';

/** PAX records, as Go's archive/tar reads them (pax(1), "pax Extended Header"). Names and values are byte strings. */
export type PaxRecords = Map<string, string>;

const xattrPrefix = 'SCHILY.xattr.';
/** Whose values are cut at a NUL by readers in C. */
const texts = new Set(['path', 'linkpath', 'uname', 'gname', 'GNU.sparse.name']);
export const sparseMapKey = 'GNU.sparse.map';

/**
 * The records of an extended header: `LENGTH KEY=VALUE\n` each. The offsets and lengths of the sparse
 * format 0.0, which come one by one, are joined to the map of 0.1.
 * @throws LAYER_INVALID
 */
export function parsePax(body: Buffer): PaxRecords {
  const records: PaxRecords = new Map();
  const sparse: string[] = [];
  for (let at = 0; at < body.length; ) {
    const blank = body.indexOf(0x20, at);
    const digits = blank < 0 || blank - at > 10 ? '' : body.toString('latin1', at, blank);
    const length = /^[0-9]+$/.test(digits) ? Number(digits) : 0;
    const end = at + length;
    if (length < 5 || end > body.length || end - 1 <= blank || body[end - 1] !== 0x0a) {
      throw invalid('A PAX record of the layer has a wrong length');
    }
    const record = body.toString('latin1', blank + 1, end - 1);
    const equals = record.indexOf('=');
    const [key, value] = [record.slice(0, equals), record.slice(equals + 1)];
    if (equals < 1 || (texts.has(key) ? value : key).includes('\0')) {
      throw invalid('A PAX record of the layer is malformed, or has a NUL where none may be');
    }
    if (key === 'GNU.sparse.offset' || key === 'GNU.sparse.numbytes') {
      const expected = sparse.length % 2 === 0 ? 'GNU.sparse.offset' : 'GNU.sparse.numbytes';
      if (key !== expected || value.includes(',')) {
        throw invalid('A sparse file of the layer has a map that is out of order');
      }
      sparse.push(value);
    } else {
      records.set(key, value);
    }
    at = end;
  }
  if (sparse.length > 0) records.set(sparseMapKey, sparse.join(','));
  return records;
}

/**
 * The extended attributes among the records.
 * @throws LAYER_INVALID for those that steer overlayfs: a layer says such things by whiteouts only
 */
export function xattrsOf(records: PaxRecords): ReadonlyMap<string, Buffer> | undefined {
  let xattrs: Map<string, Buffer> | undefined;
  for (const [key, value] of records) {
    if (!key.startsWith(xattrPrefix)) continue;
    const name = key.slice(xattrPrefix.length);
    if (name === '' || name.length > 255 || value.length > 65536) {
      throw invalid('An entry of the layer has an extended attribute beyond the limits of Linux');
    }
    if (/^(trusted|user)\.overlay\./.test(name)) {
      throw invalid(
        `An entry of the layer has the extended attribute ${name}, which is overlayfs's own`,
      );
    }
    // The administrator's own, which containerd does not take from a layer either.
    if (name.startsWith('trusted.')) continue;
    xattrs ??= new Map();
    xattrs.set(name, Buffer.from(value, 'latin1'));
  }
  return xattrs;
}
