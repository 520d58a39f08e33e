import type { Capabilities } from './runtime-spec.ts';

/** What moby and containerd grant by default. */
const defaults = [
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
] as const;

/** Bit numbers of linux/capability.h. */
const bits: Record<(typeof defaults)[number], number> = {
  CAP_CHOWN: 0,
  CAP_DAC_OVERRIDE: 1,
  CAP_FOWNER: 3,
  CAP_FSETID: 4,
  CAP_KILL: 5,
  CAP_SETGID: 6,
  CAP_SETUID: 7,
  CAP_SETPCAP: 8,
  CAP_NET_BIND_SERVICE: 10,
  CAP_NET_RAW: 13,
  CAP_SYS_CHROOT: 18,
  CAP_MKNOD: 27,
  CAP_AUDIT_WRITE: 29,
  CAP_SETFCAP: 31,
};

/**
 * The default capabilities that the node can grant: those outside its bounding set are left out, since a
 * runtime refuses them. For a user other than root they only bound what its programs may gain, as execve(2)
 * leaves it.
 * @param hostBounding the bounding set of the agent, see {@link parseBoundingSet}
 */
export function capabilitiesFor(uid: number, hostBounding: bigint): Capabilities {
  const granted = defaults.filter((name) => (hostBounding >> BigInt(bits[name])) & 1n);
  const own = uid === 0 ? granted : [];
  return { bounding: granted, effective: own, permitted: own, inheritable: [], ambient: [] };
}

/** The bounding set in the text of /proc/self/status. */
export function parseBoundingSet(status: string): bigint {
  const [, hex = '0'] = /^CapBnd:\s*([0-9a-f]+)$/m.exec(status) ?? [];
  return BigInt(`0x${hex}`);
}
