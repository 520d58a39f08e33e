import { randomBytes } from 'node:crypto';
import type { CreateContainerRequest } from '../../../shared/agent/containers.ts';
import { DrayError } from '../../../shared/errors.ts';
import {
  formatPlatform,
  normalizePlatform,
  parsePlatform,
  samePlatform,
} from '../../../shared/image/platform.ts';
import { parseSignal } from '../runtime/signals.ts';
import { makeBundle } from './bundle.ts';
import type { Container } from './container.ts';
import type { ContainerImage } from './image.ts';
import { ownIDs } from './layout.ts';
import type { ContainerServices } from './services.ts';
import { portRequests, settle } from './settings.ts';

/**
 * Makes a container with a checked id, under its lock: row, snapshot and bundle. Nothing of it is left when that
 * fails.
 * @param options.isRun it is started before anybody is told of it
 * @returns it, and what was asked for and is less on this node
 * @throws IMAGE_UNKNOWN, NOT_FOUND, CONFLICT, CONFIG_INVALID, USER_UNKNOWN, COMMAND_MISSING, TOOL_MISSING
 */
export async function createContainer(
  services: ContainerServices,
  id: string,
  request: CreateContainerRequest,
  { isRun = false, ...options }: { isRun?: boolean; signal?: AbortSignal } = {},
): Promise<{ container: Container; warnings: string[] }> {
  const { rows, defaultNetwork } = services;
  const runOptions = request.options ?? {};
  services.tools(runOptions.runtime);
  const image = await services.images.find(request.image, options);
  requirePlatform(image, request.platform);
  const stopSignal = runOptions.stopSignal ?? (image.config.config?.StopSignal || 'SIGTERM');
  parseSignal(stopSignal);
  const container: Container = {
    id,
    instance: `${id.slice(0, 48)}-${randomBytes(6).toString('hex')}${runOptions.userMapping === undefined ? '' : ownIDs}`,
    state: 'creating',
    image: image.name,
    manifest: image.manifest,
    options: runOptions,
    args: [],
    stopSignal,
    autoRemove: request.autoRemove ?? false,
    settings: settle(image.config.config ?? {}, runOptions, defaultNetwork),
    restarts: 0,
    stopRequested: false,
    backoff: 0,
    oomKilled: false,
    addresses: [],
    createdAt: new Date(),
  };
  const { publishAll = false } = runOptions;
  const published = portRequests(runOptions, container.settings);
  rows.insert(container);
  const warnings: string[] = [];
  if (publishAll && published.length === 0) {
    warnings.push('The image exposes no port, so --publish-all publishes none');
  }
  try {
    const { args, config } = await makeBundle(services, container, image, {
      ...options,
      warn: (message) => warnings.push(message),
    });
    const created: Container = { ...container, state: 'created', args };
    rows.made(created, config, { isRun });
    return { container: created, warnings };
  } catch (error) {
    rows.delete(container.instance);
    throw error;
  }
}

/** @throws IMAGE_UNKNOWN when what is there is for another platform */
function requirePlatform({ name, config }: ContainerImage, wanted: string | undefined): void {
  if (wanted === undefined) return;
  const { os, architecture, variant } = config;
  const own = { os, architecture, ...(variant === undefined ? {} : { variant }) };
  if (samePlatform(normalizePlatform(own), parsePlatform(wanted))) return;
  throw new DrayError(
    'IMAGE_UNKNOWN',
    `${name} is for ${formatPlatform(own)} here, not ${wanted}`,
    {
      hint: `Pull it for that platform: dray pull --platform ${wanted} ${name}`,
    },
  );
}
