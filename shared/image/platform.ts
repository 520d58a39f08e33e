import { DrayError } from '../errors.ts';

/** What a manifest is for (image-spec, image-index.md#image-index-property-descriptions). */
export interface Platform {
  os: string;
  architecture: string;
  variant?: string;
  'os.version'?: string;
}

/** Stands for every platform of an index, where a platform is asked for. */
export const allPlatforms = 'all';

const part = /^[A-Za-z0-9_.-]+$/;

/** Normalizes what people and registries write: `x86_64` is amd64, `aarch64` arm64, `arm64/v8` arm64, `armhf` arm/v7. */
export function normalizePlatform(platform: Platform): Platform {
  let architecture = platform.architecture.toLowerCase();
  let variant = platform.variant?.toLowerCase() ?? '';
  switch (architecture) {
    case 'x86_64':
    case 'x86-64':
      architecture = 'amd64';
      break;
    case 'aarch64':
      architecture = 'arm64';
      break;
    case 'i386':
      architecture = '386';
      break;
    case 'armhf':
      architecture = 'arm';
      variant = 'v7';
      break;
    case 'armel':
      architecture = 'arm';
      variant = 'v6';
      break;
  }
  if (architecture === 'amd64' && variant === 'v1') variant = '';
  if (architecture === 'arm64' && (variant === '8' || variant === 'v8')) variant = '';
  if (architecture === 'arm') {
    if (variant === '') variant = 'v7';
    else if (/^[5-8]$/.test(variant)) variant = `v${variant}`;
  }
  const os = platform.os.toLowerCase() === 'macos' ? 'darwin' : platform.os.toLowerCase();
  return {
    os,
    architecture,
    ...(variant === '' ? {} : { variant }),
    ...(platform['os.version'] === undefined ? {} : { 'os.version': platform['os.version'] }),
  };
}

/** Parses `os/architecture[/variant]`. @throws PLATFORM_INVALID */
export function parsePlatform(text: string): Platform {
  const parts = text.split('/');
  const [os, architecture, variant] = parts;
  if (
    os === undefined ||
    architecture === undefined ||
    parts.length > 3 ||
    !parts.every((p) => part.test(p))
  ) {
    throw new DrayError('PLATFORM_INVALID', `"${text.slice(0, 100)}" is not a platform`, {
      hint: 'A platform is os/architecture or os/architecture/variant, as in linux/amd64 or linux/arm/v7.',
    });
  }
  return normalizePlatform({ os, architecture, ...(variant === undefined ? {} : { variant }) });
}

/** Platforms that can be asked for by one name. */
const maxPlatforms = 16;

/**
 * Parses what platforms are asked for: one or several, `linux/amd64,linux/arm64`, each once, or {@link allPlatforms}.
 * @returns undefined for all @throws PLATFORM_INVALID
 */
export function parsePlatforms(text: string): Platform[] | undefined {
  if (text === allPlatforms) return undefined;
  const names = platformNames(text);
  if (names.length > maxPlatforms) {
    throw new DrayError('PLATFORM_INVALID', `More than ${maxPlatforms} platforms are asked for`, {
      hint: `To have every platform of an index: --platform ${allPlatforms}`,
    });
  }
  return [
    ...new Map(names.map(parsePlatform).map((each) => [formatPlatform(each), each])).values(),
  ];
}

export function formatPlatforms(platforms: readonly Platform[]): string {
  return platforms.map(formatPlatform).join(',');
}

/** The names of the platforms that {@link formatPlatforms} wrote. */
export function platformNames(text: string): string[] {
  return text.split(',');
}

export function formatPlatform(platform: Platform): string {
  const { os, architecture, variant } = platform;
  return variant === undefined || variant === ''
    ? `${os}/${architecture}`
    : `${os}/${architecture}/${variant}`;
}

/** The platform of the machine that this process runs on. */
export function hostPlatform(): Platform {
  const architecture = { x64: 'amd64', ia32: '386' }[process.arch as string] ?? process.arch;
  return normalizePlatform({ os: process.platform, architecture });
}

/**
 * The platforms that a machine of platform `wanted` runs, best first: arm falls back to older variants,
 * as containerd's does; 64-bit machines are not offered 32-bit images unasked.
 */
export function fallbacks(wanted: Platform): Platform[] {
  const platform = normalizePlatform(wanted);
  if (platform.architecture === 'arm' && platform.variant !== undefined) {
    const version = Number(platform.variant.slice(1));
    return [8, 7, 6, 5].filter((v) => v <= version).map((v) => ({ ...platform, variant: `v${v}` }));
  }
  if (platform.architecture === 'amd64' && platform.variant !== undefined) {
    const version = Number(platform.variant.slice(1));
    return [4, 3, 2]
      .filter((v) => v <= version)
      .map((v): Platform => ({ ...platform, variant: `v${v}` }))
      .concat({ os: platform.os, architecture: platform.architecture });
  }
  return [platform];
}

/** Whether a manifest's platform is exactly `wanted`, both normalized. */
export function samePlatform(offered: Platform, wanted: Platform): boolean {
  return formatPlatform(normalizePlatform(offered)) === formatPlatform(normalizePlatform(wanted));
}
