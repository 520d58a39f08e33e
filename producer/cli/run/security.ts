import type {
  DeviceRequest,
  IDMapping,
  SecurityOptions,
} from '../../../shared/agent/run-options.ts';
import { DrayError, messageOf } from '../../../shared/errors.ts';

const securityHint =
  'Write --security-opt seccomp=unconfined, seccomp=FILE, apparmor=PROFILE or no-new-privileges[=false].';

/** Parses all of `--security-opt`; the file of a seccomp profile is read here. @throws USAGE */
export async function parseSecurity(entries: readonly string[]): Promise<SecurityOptions> {
  const options: SecurityOptions = {};
  for (const entry of entries) {
    // docker takes a colon as well.
    const [, name = '', value] = /^([^=:]*)(?:[=:](.*))?$/s.exec(entry) ?? [];
    if (name === 'seccomp' && value) {
      options.seccomp = value === 'unconfined' ? value : await readProfile(value);
    } else if (name === 'apparmor' && value) options.apparmor = value;
    else if (name === 'no-new-privileges' && /^(true|false|)$/.test(value ?? '')) {
      options.noNewPrivileges = value !== 'false';
    } else {
      throw new DrayError('USAGE', `--security-opt "${entry}" is not known`, {
        hint: securityHint,
      });
    }
  }
  return options;
}

async function readProfile(file: string): Promise<string> {
  try {
    // Loaded only where it is needed.
    const { readFile } = await import('node:fs/promises');
    return await readFile(file, 'utf8');
  } catch (error) {
    throw new DrayError('USAGE', `The seccomp profile ${file} can't be read: ${messageOf(error)}`, {
      hint: securityHint,
      cause: error,
    });
  }
}

/** Parses `--device`: `SOURCE[:TARGET][:rwm]`. @throws USAGE */
export function parseDevice(text: string): DeviceRequest {
  const parts = text.split(':');
  const last = parts.at(-1) ?? '';
  const access = parts.length > 1 && /^[rwm]{1,3}$/.test(last) ? parts.pop() : undefined;
  const [source = '', target = source, ...rest] = parts;
  if (source.startsWith('/') && target.startsWith('/') && rest.length === 0) {
    return { source, target, access: access ?? 'rwm' };
  }
  throw new DrayError('USAGE', `--device "${text}" is not a device`, {
    hint: 'Write --device /dev/fuse, or /dev/sda:/dev/xvda:r.',
  });
}

const mostIDs = 2 ** 32 - 1;

/** Parses `--userns`: `host`, or `HOSTID:SIZE` for the ids of the node that 0 to SIZE - 1 are. @throws USAGE */
export function parseUserns(text: string): IDMapping | undefined {
  if (text === 'host') return undefined;
  const [, first, count] = /^(\d{1,10}):(\d{1,10})$/.exec(text) ?? [];
  const [hostID, size] = [Number(first), Number(count)];
  if (first !== undefined && hostID > 0 && size > 0 && hostID + size <= mostIDs) {
    return { containerID: 0, hostID, size };
  }
  throw new DrayError('USAGE', `--userns "${text}" is not a map of ids`, {
    hint: "Write --userns 100000:65536: the container's ids from 0 on are the node's from 100000 on.",
  });
}
