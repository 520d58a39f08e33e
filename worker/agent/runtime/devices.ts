import { constants } from 'node:fs';
import { lstat, readdir, stat } from 'node:fs/promises';
import { join, posix } from 'node:path';
import type { DeviceRequest } from '../../../shared/agent/run-options.ts';
import { DrayError } from '../../../shared/errors.ts';
import type { DeviceRule, SpecDevice } from './runtime-spec.ts';

/** A folder of devices with more is not meant. */
const mostDevices = 1024;
/** What of /dev every container has of its own. */
const own = new Set(['console', 'pts', 'shm', 'fd', 'mqueue', 'core', 'stdin', 'stdout', 'stderr']);

export interface Devices {
  devices: SpecDevice[];
  /** Who may use what: the last rule that fits counts. The runtime adds those of the usual devices. */
  rules: DeviceRule[];
}

/** The devices of a container beside those that every one has. @throws CONFIG_INVALID */
export async function devicesFor(
  requests: readonly DeviceRequest[],
  options: { privileged: boolean },
): Promise<Devices> {
  if (options.privileged) {
    const devices = await devicesIn('/dev', '/dev');
    return { devices, rules: [{ allow: true, access: 'rwm' }] };
  }
  const result: Devices = { devices: [], rules: [{ allow: false, access: 'rwm' }] };
  for (const request of requests) {
    const devices = await requested(request);
    result.devices.push(...devices);
    result.rules.push(
      ...devices.map(({ type, major, minor }) => {
        return { allow: true, type, major, minor, access: request.access };
      }),
    );
  }
  return result;
}

async function requested({ source, target }: DeviceRequest): Promise<SpecDevice[]> {
  const at = posix.resolve('/', target);
  const found = await stat(source).catch(() => undefined);
  if (found?.isDirectory() === true) {
    const devices = await devicesIn(source, at);
    if (devices.length > 0) return devices;
  }
  const device = found === undefined ? undefined : toDevice(at, found);
  if (device !== undefined) return [device];
  const why = found === undefined ? 'is not on this node' : 'is no device';
  throw new DrayError('CONFIG_INVALID', `${source.slice(0, 200)} ${why}`, {
    hint: 'Correct --device.',
  });
}

async function devicesIn(folder: string, target: string): Promise<SpecDevice[]> {
  const devices: SpecDevice[] = [];
  const ahead = [folder];
  for (let next = ahead.pop(); next !== undefined; next = ahead.pop()) {
    for (const entry of await readdir(next, { withFileTypes: true }).catch(() => [])) {
      const path = join(next, entry.name);
      if (folder === '/dev' && next === '/dev' && own.has(entry.name)) continue;
      if (entry.isDirectory()) ahead.push(path);
      const found = await lstat(path).catch(() => undefined);
      const at = join(target, posix.relative(folder, path));
      const device = found === undefined ? undefined : toDevice(at, found);
      if (device !== undefined) devices.push(device);
      if (devices.length > mostDevices) {
        throw new DrayError('CONFIG_INVALID', `${folder} has more than ${mostDevices} devices`);
      }
    }
  }
  return devices;
}

function toDevice(
  path: string,
  found: { mode: number; rdev: number; uid: number; gid: number },
): SpecDevice | undefined {
  const type = typeOf(found.mode & constants.S_IFMT);
  if (type === undefined) return undefined;
  // glibc's major(3) and minor(3); what Node gives is exact below 2^53.
  const device = BigInt(found.rdev);
  const major = Number(((device >> 8n) & 0xfffn) | ((device >> 32n) & 0xfffff000n));
  const minor = Number((device & 0xffn) | ((device >> 12n) & 0xffffff00n));
  const { mode, uid, gid } = found;
  return { path, type, major, minor, fileMode: mode & 0o7777, uid, gid };
}

function typeOf(format: number): 'c' | 'b' | undefined {
  if (format === constants.S_IFCHR) return 'c';
  return format === constants.S_IFBLK ? 'b' : undefined;
}
