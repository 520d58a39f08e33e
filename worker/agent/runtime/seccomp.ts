import { readFile } from 'node:fs/promises';
import { arch, release } from 'node:os';
import { z } from 'zod';
import { DrayError, messageOf } from '../../../shared/errors.ts';
import { takesX32 } from '../linux/x32.ts';
import type { Seccomp, SeccompRule } from './runtime-spec.ts';

/** The container tools' default profile, as distributions ship it. */
export const defaultProfilePath = '/usr/share/containers/seccomp.json';

const filter = z
  .object({
    caps: z.array(z.string()).nullish(),
    arches: z.array(z.string()).nullish(),
    /** `major.minor`; holds on this kernel and newer ones. */
    minKernel: z.string().nullish(),
  })
  .nullish();
const profileSchema = z.object({
  defaultAction: z.string().startsWith('SCMP_ACT_'),
  defaultErrnoRet: z.number().int().nullish(),
  /** Instead of archMap: for these only. */
  architectures: z.array(z.string()).nullish(),
  archMap: z
    .array(z.object({ architecture: z.string(), subArchitectures: z.array(z.string()).nullish() }))
    .nullish(),
  syscalls: z
    .array(
      z.object({
        names: z.array(z.string()).nullish(),
        /** In profiles of old. */
        name: z.string().nullish(),
        action: z.string().startsWith('SCMP_ACT_'),
        errnoRet: z.number().int().nullish(),
        args: z
          .array(
            z.object({
              index: z.number().int(),
              value: z.number(),
              valueTwo: z.number().default(0),
              op: z.string(),
            }),
          )
          .nullish(),
        includes: filter,
        excludes: filter,
      }),
    )
    .nullish(),
});

/** A profile in the format of moby and containers-common. */
export type SeccompProfile = z.infer<typeof profileSchema>;
type ProfileRule = NonNullable<SeccompProfile['syscalls']>[number];
type ProfileFilter = NonNullable<ProfileRule['includes']>;

/** For what machine and process a profile is translated. */
export interface SeccompTarget {
  /** As Go names it: amd64, arm64, … */
  architecture: string;
  /** As uname(2) says it. */
  kernel: string;
  /** Whether the kernel has system calls of x32. */
  x32: boolean;
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
export function thisMachine(): Omit<SeccompTarget, 'capabilities'> {
  return { architecture: goNames[arch()] ?? arch(), kernel: release(), x32: takesX32() };
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
  loaded = parseProfile(text, {
    name: defaultProfilePath,
    hint: 'Install it again: apt-get install --reinstall golang-github-containers-common',
  });
  return loaded;
}

/** Reads a profile that came from outside. @throws CONFIG_INVALID */
export function parseProfile(
  text: string,
  { name, hint }: { name: string; hint: string },
): SeccompProfile {
  try {
    return profileSchema.parse(JSON.parse(text));
  } catch (error) {
    const why =
      error instanceof z.ZodError
        ? `${error.issues[0]?.path.join('.') ?? ''}: ${error.issues[0]?.message ?? ''}`
        : messageOf(error);
    throw new DrayError('CONFIG_INVALID', `${name} is no seccomp profile: ${why}`, {
      hint,
      cause: error,
    });
  }
}

/**
 * Translates a profile into the runtime specification's form: keeps the rules that hold for the target. The rules of
 * x32 are left out where the kernel has none of its calls: building them takes 4 to 7 ms of each start.
 */
export function translateProfile(profile: SeccompProfile, target: SeccompTarget): Seccomp {
  const native = architectures[target.architecture];
  const mapped = profile.archMap?.find(({ architecture }) => architecture === native);
  const others = mapped?.subArchitectures ?? [];
  const usual = [
    ...(native === undefined ? [] : [native]),
    ...others.filter((name) => target.x32 || name !== 'SCMP_ARCH_X32'),
  ];
  return {
    defaultAction: profile.defaultAction,
    ...(typeof profile.defaultErrnoRet === 'number'
      ? { defaultErrnoRet: profile.defaultErrnoRet }
      : {}),
    architectures: profile.architectures?.length ? profile.architectures : usual,
    syscalls: (profile.syscalls ?? [])
      .filter(
        ({ includes, excludes }) => isIncluded(includes, target) && !isExcluded(excludes, target),
      )
      .map(toRule),
  };
}

function isIncluded(filter: ProfileRule['includes'], target: SeccompTarget): boolean {
  const { caps, arches, minKernel }: ProfileFilter = filter ?? {};
  if (arches?.length && !arches.includes(target.architecture)) return false;
  if (caps?.length && !caps.every((cap) => target.capabilities.includes(cap))) return false;
  return !minKernel || !isOlder(target.kernel, minKernel);
}

function isExcluded(filter: ProfileRule['includes'], target: SeccompTarget): boolean {
  const { caps, arches, minKernel }: ProfileFilter = filter ?? {};
  if (arches?.includes(target.architecture)) return true;
  if (caps?.some((cap) => target.capabilities.includes(cap))) return true;
  return Boolean(minKernel) && !isOlder(target.kernel, minKernel ?? '');
}

function isOlder(kernel: string, than: string): boolean {
  const [major = 0, minor = 0] = kernel.split('.').map((part) => Number.parseInt(part, 10));
  const [wantedMajor = 0, wantedMinor = 0] = than.split('.').map(Number);
  return major < wantedMajor || (major === wantedMajor && minor < wantedMinor);
}

function toRule({ names, name, action, errnoRet, args }: ProfileRule): SeccompRule {
  return {
    names: names ?? (name ? [name] : []),
    action,
    ...(typeof errnoRet === 'number' ? { errnoRet } : {}),
    ...(args?.length ? { args } : {}),
  };
}
