import { DrayError } from '../../../shared/errors.ts';
import { readInRoot } from './rooted.ts';

/** Who a container's process is. */
export interface User {
  uid: number;
  gid: number;
  /** The primary group first, as the kernel checks deny entries against this list. */
  additionalGids: number[];
  home: string;
}

/** The largest id: -1 means "no change" to the kernel. */
const maxID = 2 ** 32 - 2;
/** Bytes of a passwd or group file; the largest of real images have a few hundred kilobytes. */
const maxFileBytes = 4 * 1024 * 1024;

interface PasswdEntry {
  name: string;
  uid: number;
  gid: number;
  home: string;
}

interface GroupEntry {
  name: string;
  gid: number;
  members: string[];
}

/**
 * Looks up `user`, `uid`, `user:group`, `uid:gid` or nothing at all (root) in the image's own files, in
 * the way of runc and moby: a name before a number, supplementary groups only where no group is named.
 * @param options.groups further ones, by name or number
 * @param root the image's root file system, on which nothing runs
 * @throws USER_UNKNOWN for a name that is not there: root is never fallen back to; CONFIG_INVALID
 */
export async function lookupUser(
  root: string,
  text: string,
  options: { signal?: AbortSignal; groups?: readonly string[] } = {},
): Promise<User> {
  const [userText = '', groupText = '', ...rest] = text.split(':');
  if (rest.length > 0 || text.includes('\0')) {
    throw new DrayError('CONFIG_INVALID', `"${text.slice(0, 100)}" is not a user`, {
      hint: 'A user is a name or number, with :group or :number behind it where needed.',
    });
  }
  const { groups: further = [], ...call } = options;
  const limits = { maxBytes: maxFileBytes, ...call };
  const [passwdFile = '', groupFile = ''] = await Promise.all(
    ['/etc/passwd', '/etc/group'].map((file) => readInRoot(root, file, limits)),
  );
  const passwd = parsePasswd(passwdFile);
  const groups = parseGroup(groupFile);
  const wanted = userText === '' ? '0' : userText;
  const number = parseID(wanted, text);
  const entry = passwd.find(({ name }) => name === wanted) ?? passwd.find((e) => e.uid === number);
  const uid = entry?.uid ?? number;
  if (uid === undefined) throw unknown('user', wanted, '/etc/passwd');

  const gid = groupText === '' ? (entry?.gid ?? 0) : findGroup(groups, groupText, text);
  const supplementary =
    groupText === '' && entry !== undefined
      ? groups.filter(({ members }) => members.includes(entry.name)).map((group) => group.gid)
      : [];
  return {
    uid,
    gid,
    additionalGids: [
      ...new Set([
        gid,
        ...supplementary,
        ...further.map((group) => findGroup(groups, group, group)),
      ]),
    ],
    home: entry?.home.startsWith('/') === true ? entry.home : '/',
  };
}

function findGroup(groups: readonly GroupEntry[], wanted: string, text: string): number {
  const number = parseID(wanted, text);
  const group =
    groups.find(({ name }) => name === wanted) ?? groups.find((entry) => entry.gid === number);
  const gid = group?.gid ?? number;
  if (gid === undefined) throw unknown('group', wanted, '/etc/group');
  return gid;
}

function parsePasswd(text: string): PasswdEntry[] {
  return lines(text).flatMap(([name = '', , uid = '', gid = '', , home = '']) => {
    const ids = [fileID(uid), fileID(gid)] as const;
    if (name === '' || ids[0] === undefined || ids[1] === undefined) return [];
    return [{ name, uid: ids[0], gid: ids[1], home }];
  });
}

function parseGroup(text: string): GroupEntry[] {
  return lines(text).flatMap(([name = '', , number = '', members = '']) => {
    const gid = fileID(number);
    if (name === '' || gid === undefined) return [];
    return [{ name, gid, members: members.split(',').filter((member) => member !== '') }];
  });
}

function lines(text: string): string[][] {
  return text
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '' && !line.startsWith('#'))
    .map((line) => line.split(':'));
}

/** An id in a file; entries that have none, or one that the kernel does not take, do not count. */
function fileID(text: string): number | undefined {
  if (!/^\d{1,10}$/.test(text)) return undefined;
  const id = Number(text);
  return id <= maxID ? id : undefined;
}

/** The number that somebody asked for, or undefined for a name. */
function parseID(text: string, whole: string): number | undefined {
  if (!/^[+-]?\d+$/.test(text)) return undefined;
  const id = Number(text);
  if (id >= 0 && id <= maxID) return id;
  throw new DrayError('CONFIG_INVALID', `The user "${whole.slice(0, 100)}" is out of range`, {
    hint: `Numbers of users and groups go from 0 to ${maxID}.`,
  });
}

function unknown(kind: string, name: string, file: string): DrayError {
  return new DrayError('USER_UNKNOWN', `The image has no ${kind} "${name.slice(0, 100)}"`, {
    hint: `Its ${file} does not name it. Choose another, or give its number.`,
  });
}
