/**
 * Writes tar archives byte by byte, so that a test can say things that no honest writer says. Text is UTF-8;
 * a Buffer is a name's own bytes.
 */
export type TarText = string | Buffer;

export interface TarFields {
  name?: TarText;
  /** The type flag. Default: `0`, a file. */
  type?: string;
  mode?: number;
  uid?: number;
  gid?: number;
  /** What the header says; by default the length of the body. */
  size?: number;
  /** Seconds. */
  mtime?: number;
  linkName?: TarText;
  /** Default: `ustar`. */
  format?: 'ustar' | 'gnu' | 'v7';
  major?: number;
  minor?: number;
  /** The first part of a ustar name. */
  prefix?: TarText;
  /** Changes the header before its checksum is made. */
  change?: (header: Buffer) => void;
}

export type TarRange = readonly [offset: number, length: number];

const blockSize = 512;

/** What ends an archive. */
export const endMarker = Buffer.alloc(2 * blockSize);

/** The parts and the end marker. */
export function tar(...parts: readonly Buffer[]): Buffer {
  return Buffer.concat([...parts, endMarker]);
}

/** A header, its body, and the zeros after that. */
export function entry(fields: TarFields, body: TarText = ''): Buffer {
  const bytes = bytesOf(body);
  return Buffer.concat([header({ size: bytes.length, ...fields }), padded(bytes)]);
}

export function file(name: TarText, body: TarText = '', fields: TarFields = {}): Buffer {
  return entry({ name, mode: 0o644, ...fields }, body);
}

export function folder(name: TarText, fields: TarFields = {}): Buffer {
  return entry({ name, type: '5', mode: 0o755, ...fields });
}

export function symlink(name: TarText, linkName: TarText, fields: TarFields = {}): Buffer {
  return entry({ name, linkName, type: '2', mode: 0o777, ...fields });
}

export function hardLink(name: TarText, linkName: TarText, fields: TarFields = {}): Buffer {
  return entry({ name, linkName, type: '1', mode: 0o644, ...fields });
}

export function fifo(name: TarText, fields: TarFields = {}): Buffer {
  return entry({ name, type: '6', mode: 0o644, ...fields });
}

export function device(
  kind: 'char' | 'block',
  name: TarText,
  [major, minor]: readonly [number, number],
  fields: TarFields = {},
): Buffer {
  return entry({ name, type: kind === 'char' ? '3' : '4', mode: 0o600, major, minor, ...fields });
}

/** An extended header with these records, for the entry that follows. */
export function pax(records: Record<string, TarText> | readonly [string, TarText][]): Buffer {
  const pairs = Array.isArray(records) ? records : Object.entries(records);
  return paxOf(Buffer.concat(pairs.map(([key, value]) => paxRecord(key, value))));
}

/** An extended header with any body; type `g` is a global one. */
export function paxOf(body: TarText, type: 'x' | 'g' = 'x'): Buffer {
  const name = type === 'g' ? 'pax_global_header' : 'PaxHeaders/entry';
  return entry({ name, type, mode: 0o644 }, body);
}

/** `LENGTH KEY=VALUE\n`, where the length counts itself. */
export function paxRecord(key: string, value: TarText): Buffer {
  const rest = Buffer.concat([Buffer.from(` ${key}=`), bytesOf(value), Buffer.from('\n')]);
  let length = rest.length + 1;
  while (String(length).length + rest.length !== length) length++;
  return Buffer.concat([Buffer.from(String(length)), rest]);
}

/** A GNU header that holds the name, or the link target, of the entry that follows. */
export function gnuLong(kind: 'name' | 'target', text: TarText): Buffer {
  const type = kind === 'name' ? 'L' : 'K';
  const body = Buffer.concat([bytesOf(text), Buffer.alloc(1)]);
  return entry({ name: '././@LongLink', type, format: 'gnu', mode: 0 }, body);
}

/** A file with holes in GNU's old form; ranges that don't fit in the header stand in blocks after it. */
export function gnuSparse(
  name: TarText,
  { size, map, data }: { size: number; map: readonly TarRange[]; data: TarText },
  fields: TarFields = {},
): Buffer {
  const body = bytesOf(data);
  const further: Buffer[] = [];
  for (let at = 4; at < map.length; at += 21) {
    const block = Buffer.alloc(blockSize);
    writeRanges(block, 0, map.slice(at, at + 21));
    block[504] = at + 21 < map.length ? 1 : 0;
    further.push(block);
  }
  const first = header({
    ...{ name, type: 'S', mode: 0o644, format: 'gnu', size: body.length },
    ...fields,
    change: (block) => {
      writeRanges(block, 386, map.slice(0, 4));
      block[482] = map.length > 4 ? 1 : 0;
      writeNumber(block, 483, 12, size);
      fields.change?.(block);
    },
  });
  return Buffer.concat([first, ...further, padded(body)]);
}

/** A file with holes in one of GNU's PAX forms. */
export function paxSparse(
  version: '0.0' | '0.1' | '1.0',
  name: string,
  { size, map, data }: { size: number; map: readonly TarRange[]; data: TarText },
): Buffer {
  const body = bytesOf(data);
  if (version === '1.0') {
    const lines = [map.length, ...map.flat()].map((number) => `${number}\n`).join('');
    const records = { major: '1', minor: '0', name, realsize: `${size}` };
    return Buffer.concat([
      pax(prefixed(Object.entries(records))),
      file('GNUSparseFile.0/x', Buffer.concat([padded(Buffer.from(lines)), body])),
    ]);
  }
  const common: [string, string][] = [
    ['size', `${size}`],
    ['numblocks', `${map.length}`],
  ];
  const ranges: [string, string][] =
    version === '0.1'
      ? [
          ['name', name],
          ['map', map.flat().join(',')],
        ]
      : map.flatMap(([offset, length]): [string, string][] => [
          ['offset', `${offset}`],
          ['numbytes', `${length}`],
        ]);
  return Buffer.concat([
    pax(prefixed([...common, ...ranges])),
    file(version === '0.1' ? 'GNUSparseFile.0/x' : name, body),
  ]);
}

/** One header block. */
export function header(fields: TarFields): Buffer {
  const block = Buffer.alloc(blockSize);
  const { format = 'ustar' } = fields;
  writeText(block, 0, 100, fields.name ?? '');
  writeNumber(block, 100, 8, fields.mode ?? 0);
  writeNumber(block, 108, 8, fields.uid ?? 0);
  writeNumber(block, 116, 8, fields.gid ?? 0);
  writeNumber(block, 124, 12, fields.size ?? 0);
  writeNumber(block, 136, 12, fields.mtime ?? 0);
  block.write(fields.type ?? '0', 156, 1, 'latin1');
  writeText(block, 157, 100, fields.linkName ?? '');
  if (format !== 'v7') {
    block.write(format === 'gnu' ? 'ustar  \0' : 'ustar\x0000', 257, 'latin1');
    writeNumber(block, 329, 8, fields.major ?? 0);
    writeNumber(block, 337, 8, fields.minor ?? 0);
    writeText(block, 345, 155, fields.prefix ?? '');
  }
  fields.change?.(block);
  block.fill(0x20, 148, 156);
  const sum = block.reduce((total, byte) => total + byte, 0);
  block.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 'latin1');
  return block;
}

/** Octal where it fits, else base 256. */
export function writeNumber(block: Buffer, at: number, length: number, value: number): void {
  if (value >= 0 && value < 8 ** (length - 1)) {
    block.write(`${value.toString(8).padStart(length - 1, '0')}\0`, at, 'latin1');
    return;
  }
  let rest = BigInt(value);
  for (let index = at + length - 1; index >= at; index--) {
    block[index] = Number(rest & 0xffn);
    rest >>= 8n;
  }
  block[at] = (block[at] ?? 0) | 0x80;
}

function writeText(block: Buffer, at: number, length: number, text: TarText): void {
  const bytes = bytesOf(text);
  if (bytes.length > length) throw new RangeError(`a tar header has no room for ${bytes.length}`);
  bytes.copy(block, at);
}

function writeRanges(block: Buffer, at: number, map: readonly TarRange[]): void {
  map.forEach(([offset, length], index) => {
    writeNumber(block, at + index * 24, 12, offset);
    writeNumber(block, at + index * 24 + 12, 12, length);
  });
}

function prefixed(records: readonly [string, string][]): [string, string][] {
  return records.map(([key, value]) => [`GNU.sparse.${key}`, value]);
}

function padded(bytes: Buffer): Buffer {
  return Buffer.concat([bytes, Buffer.alloc(-bytes.length & (blockSize - 1))]);
}

function bytesOf(text: TarText): Buffer {
  return typeof text === 'string' ? Buffer.from(text) : text;
}
