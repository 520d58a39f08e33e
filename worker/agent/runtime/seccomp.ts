import { readFile } from 'node:fs/promises';
import { arch, release } from 'node:os';
import { DrayError, messageOf } from '../../../shared/errors.ts';
import type { Seccomp, SeccompRule } from './runtime-spec.ts';

/** The container tools' default profile, as distributions ship it. */
export const defaultProfilePath = '/usr/share/containers/seccomp.json';

/** A profile in the format of moby and containers-common. */
export interface SeccompProfile {
  defaultAction: string;
  defaultErrnoRet?: number;
  archMap?: { architecture: string; subArchitectures?: string[] | null }[];
  syscalls: ProfileRule[];
}

interface ProfileRule {
  names: string[];
  action: string;
  errnoRet?: number | null;
  args?: SeccompRule['args'] | null;
  includes?: ProfileFilter;
  excludes?: ProfileFilter;
}

interface ProfileFilter {
  caps?: string[] | null;
  arches?: string[] | null;
  /** `major.minor`; holds on this kernel and newer ones. */
  minKernel?: string | null;
}

/** For what machine and process a profile is translated. */
export interface SeccompTarget {
  /** As Go names it: amd64, arm64, … */
  architecture: string;
  /** As uname(2) says it. */
  kernel: string;
  /** The bounding capabilities of the process. */
  capabilities: readonly string[];
}

const architectures: Record<string, string> = {
  amd64: 'SCMP_ARCH_X86_64',
  '386': 'SCMP_ARCH_X86',
  arm64: 'SCMP_ARCH_AARCH64',
  arm: 'SCMP_ARCH_ARM',
  riscv64: 'SCMP_ARCH_RISCV64',
  ppc64le: 'SCMP_ARCH_PPC64LE',
  s390x: 'SCMP_ARCH_S390X',
  loong64: 'SCMP_ARCH_LOONGARCH64',
};

const goNames: Record<string, string> = { x64: 'amd64', ia32: '386', ppc64: 'ppc64le' };

/** The machine that this process runs on. */
export function thisMachine(): Pick<SeccompTarget, 'architecture' | 'kernel'> {
  return { architecture: goNames[arch()] ?? arch(), kernel: release() };
}

let loaded: SeccompProfile | undefined;

/** Reads the default profile, once. A node without it runs nothing: containers are never unfiltered by accident. */
export async function loadDefaultProfile(
  options: { signal?: AbortSignal } = {},
): Promise<SeccompProfile> {
  if (loaded !== undefined) return loaded;
  let text: string;
  try {
    text = await readFile(defaultProfilePath, { encoding: 'utf8', ...options });
  } catch (error) {
    options.signal?.throwIfAborted();
    throw new DrayError('TOOL_MISSING', `The seccomp profile ${defaultProfilePath} is missing`, {
      hint: 'Install it: apt-get install golang-github-containers-common',
      cause: error,
    });
  }
  try {
    loaded = JSON.parse(text) as SeccompProfile;
    return loaded;
  } catch (error) {
    throw new DrayError(
      'RUNTIME_FAILED',
      `${defaultProfilePath} is not JSON: ${messageOf(error)}`,
      {
        hint: 'Install it again: apt-get install --reinstall golang-github-containers-common',
        cause: error,
      },
    );
  }
}

/** Translates a profile into the runtime specification's form: keeps the rules that hold for the target. */
export function translateProfile(profile: SeccompProfile, target: SeccompTarget): Seccomp {
  const native = architectures[target.architecture];
  const mapped = profile.archMap?.find(({ architecture }) => architecture === native);
  return {
    defaultAction: profile.defaultAction,
    ...(profile.defaultErrnoRet === undefined ? {} : { defaultErrnoRet: profile.defaultErrnoRet }),
    architectures: [...(native === undefined ? [] : [native]), ...(mapped?.subArchitectures ?? [])],
    syscalls: profile.syscalls
      .filter(
        ({ includes, excludes }) => isIncluded(includes, target) && !isExcluded(excludes, target),
      )
      .map(toRule),
  };
}

function isIncluded(filter: ProfileFilter | undefined, target: SeccompTarget): boolean {
  const { caps, arches, minKernel } = filter ?? {};
  if (arches?.length && !arches.includes(target.architecture)) return false;
  if (caps?.length && !caps.every((cap) => target.capabilities.includes(cap))) return false;
  return !minKernel || !isOlder(target.kernel, minKernel);
}

function isExcluded(filter: ProfileFilter | undefined, target: SeccompTarget): boolean {
  const { caps, arches, minKernel } = filter ?? {};
  if (arches?.includes(target.architecture)) return true;
  if (caps?.some((cap) => target.capabilities.includes(cap))) return true;
  return Boolean(minKernel) && !isOlder(target.kernel, minKernel ?? '');
}

function isOlder(kernel: string, than: string): boolean {
  const [major = 0, minor = 0] = kernel.split('.').map((part) => Number.parseInt(part, 10));
  const [wantedMajor = 0, wantedMinor = 0] = than.split('.').map(Number);
  return major < wantedMajor || (major === wantedMajor && minor < wantedMinor);
}

function toRule({ names, action, errnoRet, args }: ProfileRule): SeccompRule {
  return {
    names,
    action,
    ...(typeof errnoRet === 'number' ? { errnoRet } : {}),
    ...(args?.length ? { args } : {}),
  };
}
