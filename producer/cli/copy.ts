import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { stat } from 'node:fs/promises';
import path from 'node:path';
import { Readable } from 'node:stream';
import { text } from 'node:stream/consumers';
import { pipeline } from 'node:stream/promises';
import { DrayError, errnoOf } from '../../shared/errors.ts';
import type { AgentClient } from '../agent/client.ts';
import { exitCodes } from './errors.ts';
import { writeOut } from './foreground.ts';

export interface CopyOptions {
  /** Keep owners. */
  archive?: boolean;
  followLink?: boolean;
}

/** One side of a copy: a path here or in a container. */
interface Place {
  id: string | undefined;
  path: string;
}

/**
 * `dray cp`: between this machine and a container, as `cp -r` would: into a folder that is there, or under the
 * name that is given. `-` is a tar archive on standard input or output.
 * @throws USAGE, NOT_FOUND, CONFLICT
 */
export async function copyFiles(
  client: AgentClient,
  sourceText: string,
  targetText: string,
  options: CopyOptions,
): Promise<void> {
  const source = parsePlace(sourceText);
  const target = parsePlace(targetText);
  if (source.id !== undefined && target.id === undefined) {
    return await copyFrom(client, { ...source, id: source.id }, target.path, options);
  }
  if (target.id !== undefined && source.id === undefined) {
    return await copyTo(client, source.path, { ...target, id: target.id }, options);
  }
  throw new DrayError('USAGE', 'One of the two must be in a container, and only one', {
    hint: 'Write dray cp ID:/path local, or dray cp local ID:/path. A local name with ":" in it begins with ./',
  });
}

/** `ID:PATH`; what begins with `/` or `.`, or has no colon, is here. */
function parsePlace(text: string): Place {
  const colon = text.indexOf(':');
  if (colon < 1 || /^[./]/.test(text)) return { id: undefined, path: text };
  const inside = text.slice(colon + 1);
  return { id: text.slice(0, colon), path: inside.startsWith('/') ? inside : `/${inside}` };
}

async function copyFrom(
  client: AgentClient,
  source: { id: string; path: string },
  target: string,
  { archive = false, followLink = false }: CopyOptions,
): Promise<void> {
  const follow = followLink || source.path.endsWith('/');
  const name = baseName(source.path);
  const request = { path: source.path, follow };
  if (target === '-') {
    for await (const piece of await client.containers.copyOut(source.id, { ...request, name })) {
      if (!(await writeOut(process.stdout, piece))) {
        process.exitCode = exitCodes.brokenPipe;
        return;
      }
    }
    return;
  }
  const { type } = await client.containers.findFile(source.id, request);
  const place = placeIn(await lookUpHere(target), target, {
    name,
    isFolder: type === 'folder',
    isContents: isContents(source.path),
  });
  if ((await lookUpHere(place.folder)) !== 'folder') {
    throw new DrayError('NOT_FOUND', `There is no folder ${place.folder} here`, {
      hint: `Make it first: mkdir -p ${place.folder}`,
    });
  }
  const bytes = await client.containers.copyOut(source.id, { ...request, name: place.name });
  const owner = archive ? '--same-owner' : '--no-same-owner';
  const tar = spawn('tar', ['-x', '-f', '-', '-C', place.folder, owner], {
    stdio: ['pipe', 'ignore', 'pipe'],
  });
  await tarEnded(tar, pipeline(Readable.from(bytes, { objectMode: false }), tar.stdin));
}

async function copyTo(
  client: AgentClient,
  source: string,
  target: { id: string; path: string },
  { archive = false, followLink = false }: CopyOptions,
): Promise<void> {
  const ids = archive ? { ids: true } : {};
  if (source === '-') {
    return await client.containers.copyIn(target.id, { path: target.path, ...ids }, process.stdin);
  }
  const kind = await lookUpHere(source);
  if (kind === undefined) throw new DrayError('NOT_FOUND', `There is no ${source} here`);
  const full = path.resolve(source);
  const name = path.basename(full);
  if (name === '') throw new DrayError('USAGE', 'The root folder of this machine is not copied');
  const place = placeIn(await lookUpThere(client, target), target.path, {
    name,
    isFolder: kind === 'folder',
    isContents: isContents(source),
  });
  const links = followLink || source.endsWith('/') ? ['-h'] : [];
  const tar = spawn('tar', ['-c', '-f', '-', ...links, '-C', path.dirname(full), '--', name], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const request = { path: place.folder, name: place.name, ...ids };
  await tarEnded(tar, client.containers.copyIn(target.id, request, tar.stdout));
}

type Kind = 'folder' | 'file';

/** Where a copy goes, as cp(1) has it. @param kind of what is at the target, if something is */
function placeIn(
  kind: Kind | undefined,
  target: string,
  source: { name: string; isFolder: boolean; isContents: boolean },
): { folder: string; name: string } {
  if (kind === 'folder') {
    return { folder: target, name: source.isContents && source.isFolder ? '.' : source.name };
  }
  if (kind === 'file' && source.isFolder) {
    throw new DrayError('CONFLICT', `${target} is a file, which a folder can't be copied over`);
  }
  if (kind === undefined && target.endsWith('/') && !source.isFolder) {
    throw new DrayError('NOT_FOUND', `There is no folder ${target}`);
  }
  return { folder: path.dirname(target), name: baseName(target) };
}

/** `folder/.` means what is in it. */
function isContents(text: string): boolean {
  return text === '.' || text.endsWith('/.');
}

/** @returns `.` for the root folder */
function baseName(text: string): string {
  return path.basename(path.resolve('/', text)) || '.';
}

async function lookUpHere(file: string): Promise<Kind | undefined> {
  try {
    return (await stat(file)).isDirectory() ? 'folder' : 'file';
  } catch (error) {
    if (errnoOf(error) === 'ENOENT' || errnoOf(error) === 'ENOTDIR') return undefined;
    throw error;
  }
}

async function lookUpThere(
  client: AgentClient,
  { id, path }: { id: string; path: string },
): Promise<Kind | undefined> {
  try {
    const { type } = await client.containers.findFile(id, { path, follow: true });
    return type === 'folder' ? 'folder' : 'file';
  } catch (error) {
    if (!(error instanceof DrayError) || error.code !== 'NOT_FOUND') throw error;
    // There is no such container, or no such file in it.
    await client.containers.inspect(id);
    return undefined;
  }
}

/** Both the program and what moves the bytes must come to a good end. */
async function tarEnded(tar: ChildProcess, moving: Promise<unknown>): Promise<void> {
  const said = tar.stderr === null ? '' : text(tar.stderr);
  const ended = once(tar, 'close') as Promise<[number | null]>;
  const moved = await moving.then(
    () => undefined,
    (error: unknown) => error,
  );
  if (moved !== undefined && errnoOf(moved) !== 'EPIPE') {
    tar.kill();
    throw moved;
  }
  const [code] = await ended;
  if (code === 0) return;
  throw new DrayError('CONFLICT', `It could not be copied: ${(await said).trim().slice(0, 2000)}`);
}
