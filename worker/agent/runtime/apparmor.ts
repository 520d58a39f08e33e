import { readFile } from 'node:fs/promises';
import { DrayError } from '../../../shared/errors.ts';

const profiles = '/sys/kernel/security/apparmor/profiles';

/**
 * The AppArmor profile of a process. @returns undefined for none
 * @throws CONFIG_INVALID where the kernel has no AppArmor, or not this profile
 */
export async function apparmorFor(name: string | undefined): Promise<string | undefined> {
  if (name === undefined || name === 'unconfined') return undefined;
  const loaded = await readFile(profiles, 'utf8').catch(() => undefined);
  if (loaded?.split('\n').some((line) => line.startsWith(`${name} (`)) === true) return name;
  throw new DrayError(
    'CONFIG_INVALID',
    loaded === undefined
      ? `This node can't confine by the profile ${name}: its kernel has no AppArmor`
      : `The kernel of this node has no AppArmor profile ${name}`,
    { hint: 'apparmor_parser loads profiles; --security-opt apparmor=unconfined does without.' },
  );
}
