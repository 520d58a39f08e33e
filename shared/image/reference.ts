import { DrayError } from '../errors.ts';
import { type Digest, isDigest } from './digest.ts';

/** `name[:tag][@digest]`, normalized as distribution/reference does it. */
export interface Reference {
  /** `host[:port]`; `docker.io` when the text names none. */
  registry: string;
  /** The scope inside the registry; one-part names on docker.io get `library/` before them. */
  repository: string;
  tag?: string;
  digest?: Digest;
}

export const defaultRegistry = 'docker.io';
const oldDefaultRegistry = 'index.docker.io';
const officialPrefix = 'library/';
const maxNameLength = 255;

const pathComponent = /^[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*$/;
const domainComponent = '(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])';
const host = `(?:${domainComponent}(?:\\.${domainComponent})*|\\[(?:[a-fA-F0-9:]+)\\])`;
const domain = new RegExp(`^${host}(?::[0-9]+)?$`);
const tagForm = /^\w[\w.-]{0,127}$/;
const bareDigest = /^(?:[0-9a-f]{64}|sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128})$/;

/**
 * Parses what people write (`redis`, `redis:7`, `ghcr.io/a/b@sha256:…`) to the full form, with the tag `latest`
 * when neither tag nor digest is there (distribution/reference, ParseNormalizedNamed and TagNameOnly).
 * @throws REFERENCE_INVALID
 */
export function parseReference(text: string): Reference {
  if (text === '') throw invalid(text, 'it is empty', 'Name an image, as in redis:latest.');
  if (text.includes('://')) {
    throw invalid(
      text,
      'it is a URL',
      'Leave out the scheme, as in docker.io/library/redis:latest.',
    );
  }
  if (bareDigest.test(text)) {
    throw invalid(
      text,
      'it is a digest without a repository',
      'Write host/repository@sha256:… instead.',
    );
  }
  const { name, tag, digest } = split(text);
  const { registry, path } = splitRegistry(name);
  if (!domain.test(registry)) {
    throw invalid(text, `"${clip(registry)}" is not a registry's host`, grammarHint);
  }
  checkRepository(text, path);
  if (`${registry}/${path}`.length > maxNameLength) {
    throw invalid(text, `its name has more than ${maxNameLength} characters`, 'Shorten it.');
  }
  return {
    registry,
    repository: path,
    ...(tag === undefined ? (digest === undefined ? { tag: 'latest' } : {}) : { tag }),
    ...(digest === undefined ? {} : { digest }),
  };
}

/** The full form, which {@link parseReference} gives back unchanged: `docker.io/library/redis:latest`. */
export function formatReference(reference: Reference): string {
  const { registry, repository, tag, digest } = reference;
  return `${registry}/${repository}${tag === undefined ? '' : `:${tag}`}${digest === undefined ? '' : `@${digest}`}`;
}

const grammarHint =
  'A reference is [host[:port]/]repository[:tag][@digest], as in docker.io/library/redis:latest.';

/** Cuts digest and tag off, and checks both. */
function split(text: string): { name: string; tag?: string; digest?: Digest } {
  const at = text.indexOf('@');
  const named = at < 0 ? text : text.slice(0, at);
  const digest = at < 0 ? undefined : text.slice(at + 1);
  if (digest !== undefined && !isDigest(digest)) {
    throw invalid(
      text,
      `"${clip(digest)}" is not a digest`,
      'A digest is sha256:<64 hex digits> or sha512:<128 hex digits>, in lower case.',
    );
  }
  // The colon of a port stands before a slash, the one of a tag never does.
  const colon = named.lastIndexOf(':');
  const tagged = colon > named.lastIndexOf('/');
  const tag = tagged ? named.slice(colon + 1) : undefined;
  if (tag !== undefined && !tagForm.test(tag)) {
    throw invalid(
      text,
      tag === '' ? 'its tag is empty' : `"${clip(tag)}" is not a tag`,
      'A tag has 1 to 128 letters, digits, "_", "." and "-", and starts with none of the last two.',
    );
  }
  return {
    name: tagged ? named.slice(0, colon) : named,
    ...(tag === undefined ? {} : { tag }),
    ...(digest === undefined ? {} : { digest }),
  };
}

/** The first part is a host only if it looks like one: `a/b` is a repository on docker.io, `a.b/c` is not. */
function splitRegistry(name: string): { registry: string; path: string } {
  const slash = name.indexOf('/');
  const first = slash < 0 ? '' : name.slice(0, slash);
  const looksLikeHost =
    /[.:]/.test(first) || first === 'localhost' || first !== first.toLowerCase();
  if (slash < 0 || !looksLikeHost) {
    return { registry: defaultRegistry, path: name.includes('/') ? name : officialPrefix + name };
  }
  const registry = first === oldDefaultRegistry ? defaultRegistry : first;
  const rest = name.slice(slash + 1);
  const official = registry === defaultRegistry && !rest.includes('/');
  return { registry, path: official ? officialPrefix + rest : rest };
}

function checkRepository(text: string, path: string): void {
  if (path.split('/').every((part) => pathComponent.test(part))) return;
  const written = path.startsWith(officialPrefix) ? path.slice(officialPrefix.length) : path;
  if (written === '') throw invalid(text, 'it has no repository', grammarHint);
  if (
    path
      .toLowerCase()
      .split('/')
      .every((part) => pathComponent.test(part))
  ) {
    throw invalid(
      text,
      'its repository has upper-case letters',
      `Repositories are in lower case: "${clip(written.toLowerCase())}".`,
    );
  }
  throw invalid(
    text,
    `"${clip(written)}" is not a repository`,
    'A repository is parts of a-z and 0-9, joined by ".", "_", "__" or "-", with "/" between the parts.',
  );
}

function invalid(text: string, why: string, hint: string): DrayError {
  return new DrayError('REFERENCE_INVALID', `"${clip(text)}" is not a reference: ${why}`, { hint });
}

function clip(text: string): string {
  return text.length > 300 ? `${text.slice(0, 300)}…` : text;
}
