/** What a tar archive says of one path. Names are byte strings (latin1). */
export interface Member {
  type: 'file' | 'folder' | 'symlink' | 'link' | 'char' | 'block' | 'fifo';
  path: string;
  /** Of a symlink or hard link. */
  target?: string;
  mode?: number;
  uid?: number;
  gid?: number;
  /** Nanoseconds since 1970. */
  mtimeNs?: bigint;
  xattrs?: Record<string, Buffer>;
  device?: { major: number; minor: number };
  content?: string;
}

const flags = { file: '0', link: '1', symlink: '2', char: '3', block: '4', folder: '5', fifo: '6' };
const blockSize = 512;
const someTime = 1_600_000_000_123_456_789n;

/** A tar archive of exactly these members; what ustar can't hold comes in PAX headers. */
export function layerTar(members: readonly Member[]): Buffer {
  return Buffer.concat([...members.flatMap(blocksOf), Buffer.alloc(2 * blockSize)]);
}

function blocksOf(member: Member): Buffer[] {
  const { path, target = '', uid = 0, gid = 0, mtimeNs = someTime, xattrs = {} } = member;
  const seconds = mtimeNs / 1_000_000_000n;
  const fraction = String(mtimeNs % 1_000_000_000n).padStart(9, '0');
  const records: [string, Buffer][] = [['mtime', Buffer.from(`${seconds}.${fraction}`)]];
  const text = (key: string, value: string) => records.push([key, Buffer.from(value, 'latin1')]);
  if (path.length > 100) text('path', path);
  if (target.length > 100) text('linkpath', target);
  if (uid >= 0o7777777) text('uid', String(uid));
  if (gid >= 0o7777777) text('gid', String(gid));
  for (const [name, value] of Object.entries(xattrs)) {
    records.push([`SCHILY.xattr.${name}`, value]);
  }
  const pax = Buffer.concat(records.map(([key, value]) => record(key, value)));
  const body = Buffer.from(member.type === 'file' ? (member.content ?? '') : '');
  return [
    header({ type: 'file', path: 'PaxHeaders/0', mtimeNs: 0n }, 'x', pax.length),
    padded(pax),
    header({ ...member, mtimeNs }, flags[member.type], body.length),
    padded(body),
  ];
}

/** `LENGTH KEY=VALUE\n`, where the length counts its own digits. */
function record(key: string, value: Buffer): Buffer {
  const rest = Buffer.concat([Buffer.from(` ${key}=`), value, Buffer.from('\n')]);
  let length = rest.length;
  while (length !== rest.length + String(length).length) {
    length = rest.length + String(length).length;
  }
  return Buffer.concat([Buffer.from(String(length)), rest]);
}

function header(member: Member, flag: string, size: number): Buffer {
  const { path, target = '', mode = 0o644, uid = 0, gid = 0, mtimeNs = 0n, device } = member;
  const block = Buffer.alloc(blockSize);
  const octal = (value: number, at: number, length: number) =>
    block.write(value.toString(8).padStart(length - 1, '0'), at, 'latin1');
  block.write(path.slice(0, 100), 0, 'latin1');
  octal(mode, 100, 8);
  octal(uid >= 0o7777777 ? 0 : uid, 108, 8);
  octal(gid >= 0o7777777 ? 0 : gid, 116, 8);
  octal(size, 124, 12);
  octal(Number(mtimeNs / 1_000_000_000n), 136, 12);
  block.write('        ', 148);
  block.write(flag, 156);
  block.write(target.slice(0, 100), 157, 'latin1');
  block.write('ustar\x0000', 257, 'latin1');
  octal(device?.major ?? 0, 329, 8);
  octal(device?.minor ?? 0, 337, 8);
  const sum = block.reduce((total, byte) => total + byte, 0);
  block.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 'latin1');
  return block;
}

function padded(body: Buffer): Buffer {
  return Buffer.concat([body, Buffer.alloc(-body.length & (blockSize - 1))]);
}

/** Members with what most tests don't care for filled in. */
export const member = {
  file: (path: string, more: Partial<Member> = {}): Member => ({
    ...{ type: 'file', path, mode: 0o644, content: path },
    ...more,
  }),
  folder: (path: string, more: Partial<Member> = {}): Member => ({
    ...{ type: 'folder', path, mode: 0o755 },
    ...more,
  }),
  symlink: (path: string, target: string): Member => ({ type: 'symlink', path, target }),
  link: (path: string, target: string): Member => ({ type: 'link', path, target }),
  whiteout: (path: string): Member => {
    const slash = path.lastIndexOf('/') + 1;
    return { type: 'file', path: `${path.slice(0, slash)}.wh.${path.slice(slash)}` };
  },
  opaque: (folder: string): Member => ({
    type: 'file',
    path: `${folder === '' ? '' : `${folder}/`}.wh..wh..opq`,
  }),
};
