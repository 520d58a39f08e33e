import { DrayError } from '../../../shared/errors.ts';
import type { Capabilities } from './runtime-spec.ts';

/** The names of linux/capability.h, each at its number. */
const names = [
  ...['CHOWN', 'DAC_OVERRIDE', 'DAC_READ_SEARCH', 'FOWNER', 'FSETID', 'KILL', 'SETGID', 'SETUID'],
  ...['SETPCAP', 'LINUX_IMMUTABLE', 'NET_BIND_SERVICE', 'NET_BROADCAST', 'NET_ADMIN', 'NET_RAW'],
  ...['IPC_LOCK', 'IPC_OWNER', 'SYS_MODULE', 'SYS_RAWIO', 'SYS_CHROOT', 'SYS_PTRACE', 'SYS_PACCT'],
  ...['SYS_ADMIN', 'SYS_BOOT', 'SYS_NICE', 'SYS_RESOURCE', 'SYS_TIME', 'SYS_TTY_CONFIG', 'MKNOD'],
  ...['LEASE', 'AUDIT_WRITE', 'AUDIT_CONTROL', 'SETFCAP', 'MAC_OVERRIDE', 'MAC_ADMIN', 'SYSLOG'],
  ...['WAKE_ALARM', 'BLOCK_SUSPEND', 'AUDIT_READ', 'PERFMON', 'BPF', 'CHECKPOINT_RESTORE'],
].map((name) => `CAP_${name}`);

/** What moby and containerd grant by default. */
const defaults: ReadonlySet<string> = new Set([
  'CAP_CHOWN',
  'CAP_DAC_OVERRIDE',
  'CAP_FSETID',
  'CAP_FOWNER',
  'CAP_MKNOD',
  'CAP_NET_RAW',
  'CAP_SETGID',
  'CAP_SETUID',
  'CAP_SETFCAP',
  'CAP_SETPCAP',
  'CAP_NET_BIND_SERVICE',
  'CAP_SYS_CHROOT',
  'CAP_KILL',
  'CAP_AUDIT_WRITE',
]);

export interface CapabilityRequest {
  uid: number;
  /** The bounding set of the agent, see {@link parseBoundingSet}. */
  hostBounding: bigint;
  add?: readonly string[];
  drop?: readonly string[];
  /** Everything that the node can grant. */
  privileged?: boolean;
}

/**
 * The default capabilities with what is added and dropped, as moby has it: a name that is dropped is not
 * there even where it is added as one of ALL. Defaults outside the node's bounding set are left out, since a
 * runtime refuses them. For a user other than root they only bound what its programs may gain, as execve(2)
 * leaves it.
 * @throws CONFIG_INVALID for a name that is none, or that the node can't grant
 */
export function capabilitiesFor(request: CapabilityRequest): Capabilities {
  const { uid, hostBounding, privileged = false } = request;
  const add = (request.add ?? []).map(parseName);
  const drop = new Set((request.drop ?? []).map(parseName));
  const canGrant = (name: string) => Boolean((hostBounding >> BigInt(names.indexOf(name))) & 1n);
  const denied = add.find((name) => name !== all && !canGrant(name));
  if (denied !== undefined) {
    throw new DrayError('CONFIG_INVALID', `This node can't grant ${denied}`, {
      hint: 'The agent itself does not have it. Leave it out of --cap-add.',
    });
  }
  const everything = privileged || add.includes(all);
  const asked = new Set(add);
  const granted = names.filter((name) => {
    if (!canGrant(name) || drop.has(name)) return false;
    if (everything || asked.has(name)) return true;
    return !drop.has(all) && defaults.has(name);
  });
  const own = uid === 0 ? granted : [];
  return { bounding: granted, effective: own, permitted: own, inheritable: [], ambient: [] };
}

const all = 'ALL';

function parseName(text: string): string {
  const upper = text.toUpperCase();
  if (upper === all) return all;
  const name = upper.startsWith('CAP_') ? upper : `CAP_${upper}`;
  if (names.includes(name)) return name;
  throw new DrayError('CONFIG_INVALID', `"${text.slice(0, 40)}" is not a capability`, {
    hint: 'A capability is a name of capabilities(7), as NET_ADMIN, or ALL.',
  });
}

/** The bounding set in the text of /proc/self/status. */
export function parseBoundingSet(status: string): bigint {
  const [, hex = '0'] = /^CapBnd:\s*([0-9a-f]+)$/m.exec(status) ?? [];
  return BigInt(`0x${hex}`);
}

/** Whether a bounding set has the right to raise limits above the hard ones. */
export function mayRaiseLimits(bounding: bigint): boolean {
  return Boolean((bounding >> BigInt(names.indexOf('CAP_SYS_RESOURCE'))) & 1n);
}
