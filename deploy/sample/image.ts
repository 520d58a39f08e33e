import { realpath } from 'node:fs/promises';
import path from 'node:path';
import {
  type BuiltLayer,
  type Compression,
  entryOf,
  type LayerEntry,
  withFolders,
  writeLayer,
} from './layer.ts';
import { addFile, filesOfPackages, filesOfPrograms } from './package-files.ts';

export interface SampleImage {
  layers: BuiltLayer[];
  /** The `config` of the image configuration. */
  config: Record<string, unknown>;
}

export interface SampleOptions {
  /** Where the layers' files are written. */
  folder: string;
  compression?: Compression;
  /** Debian packages that the base layer has as well. */
  packages?: readonly string[];
  signal?: AbortSignal;
}

/** The redis user, numbered as in the image of that name. */
const redis = { uid: 999, gid: 999 };

const baseCommands =
  'sh cat chmod chown cp date dd df du echo env false head id ln ls mkdir mv printf pwd rm rmdir sleep sort stat tail tee touch true uname wc whoami';
const redisCommands = 'redis-server redis-cli redis-benchmark redis-check-rdb redis-check-aof';

const passwd = `root:x:0:0:root:/root:/bin/sh
nobody:x:65534:65534:nobody:/nonexistent:/bin/false
redis:x:${redis.uid}:${redis.gid}:redis:/data:/bin/false
`;
const group = `root:x:0:
nogroup:x:65534:
redis:x:${redis.gid}:
`;

/** Options that begin with a dash, or none, are redis-server's, after those of the configuration. */
const entrypoint = `#!/bin/sh
set -e
case "\${1:--}" in -*) set -- redis-server "$@" ;; esac
case "$1" in
  redis-server | */redis-server)
    program="$1"
    shift
    case "\${1:---}" in
      -v | -h | --version | --help) ;;
      --*) exec "$program" /etc/redis/redis.conf "$@" ;;
    esac
    exec "$program" "$@"
    ;;
esac
exec "$@"
`;

/** The container shares the host's network unless told otherwise: loopback only. */
const configuration = `bind 127.0.0.1 -::1
port 6379
dir /data
save ""
daemonize no
logfile ""
always-show-logo yes
`;

/**
 * The sample: redis, from this machine's own distribution packages, in three layers. The first has the
 * libraries, a shell and the users; the second has redis and its configuration; the third deletes files
 * and a folder of both, empties one, and replaces others.
 */
export async function buildSample(options: SampleOptions): Promise<SampleImage> {
  const { folder, compression = 'gzip', packages = [], signal } = options;
  const call = signal === undefined ? {} : { signal };
  const server = await programs(redisCommands);
  if (!server.some((file) => file.endsWith('/redis-server'))) {
    throw new Error('redis-server is not installed; run deploy/setup.sh first');
  }
  const base = await filesOfPrograms([...(await programs(baseCommands))], call);
  for (const file of await filesOfPackages(packages, call)) await addFile(file, base);
  const all = await filesOfPrograms(server, call);
  const ofRedis = [...all].filter((file) => file.includes('redis'));
  // The libraries of redis belong to the base, as they do in Debian's image.
  for (const file of all) if (!file.includes('redis')) base.add(file);

  const stacks = [
    withFolders([...(await entries(base)), ...(await baseExtras())], baseFolders),
    withFolders(await entries(ofRedis), redisFolders),
    changes(ofRedis),
  ];
  const layers: BuiltLayer[] = [];
  for (const [index, stack] of stacks.entries()) {
    const file = path.join(folder, `sample-${index}.tar`);
    layers.push(await writeLayer(stack, file, { compression, ...call }));
  }
  return {
    layers,
    config: {
      User: 'redis',
      ExposedPorts: { '6379/tcp': {} },
      Env: ['PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'],
      Entrypoint: ['/usr/local/bin/docker-entrypoint.sh'],
      Cmd: ['redis-server'],
      Volumes: { '/data': {} },
      WorkingDir: '/data',
      StopSignal: 'SIGTERM',
    },
  };
}

const baseFolders: LayerEntry[] = [
  { name: 'tmp', type: 'directory', mode: 0o1777 },
  { name: 'root', type: 'directory', mode: 0o700 },
  { name: 'data', type: 'directory', mode: 0o755, ...redis },
  ...['dev', 'proc', 'sys', 'run', 'var/tmp'].map(
    (name): LayerEntry => ({ name, type: 'directory', mode: name === 'var/tmp' ? 0o1777 : 0o755 }),
  ),
];

const redisFolders: LayerEntry[] = [
  { name: 'etc/redis', type: 'directory', mode: 0o2770, ...redis },
  { name: 'var/lib/redis', type: 'directory', mode: 0o750, ...redis },
];

/** What no package brings: users, the links of a merged /usr, and things for the third layer to change. */
async function baseExtras(): Promise<LayerEntry[]> {
  const links: LayerEntry[] = [];
  for (const name of ['bin', 'sbin', 'lib', 'lib32', 'lib64', 'libx32']) {
    if ((await realpath(`/${name}`).catch(() => '')) === `/usr/${name}`) {
      links.push({ name, type: 'symlink', mode: 0o777, linkname: `usr/${name}` });
    }
  }
  return [
    ...links,
    file('etc/passwd', passwd),
    file('etc/group', group),
    file('etc/nsswitch.conf', 'passwd: files\ngroup: files\nhosts: files dns\n'),
    file('etc/issue', 'The base layer.\n'),
    file('etc/motd', 'Of the base layer.\n'),
    file('var/cache/base/one', 'deleted by the third layer\n'),
    file('var/cache/base/two', 'deleted by the third layer\n'),
    file('var/log/base/old.log', 'hidden by the third layer\n'),
  ];
}

/** The third layer: whiteouts and an opaque folder (image-spec, layer.md#whiteouts), and replacements. */
function changes(ofRedis: readonly string[]): LayerEntry[] {
  const deleted = [
    '/usr/bin/redis-benchmark',
    '/usr/bin/redis-check-aof',
    '/etc/init.d/redis-server',
  ];
  return withFolders(
    [
      ...deleted
        .filter((name) => ofRedis.includes(name))
        .map((name) =>
          file(path.join(path.dirname(name), `.wh.${path.basename(name)}`).slice(1), ''),
        ),
      file('etc/.wh.issue', ''),
      file('var/cache/.wh.base', ''),
      file('var/log/base/.wh..wh..opq', ''),
      file('var/log/base/new.log', 'of the third layer\n'),
      file('etc/motd', 'Of the third layer.\n'),
      { ...file('etc/redis/redis.conf', configuration), mode: 0o640, ...redis },
      { ...file('usr/local/bin/docker-entrypoint.sh', entrypoint), mode: 0o755 },
    ],
    redisFolders.slice(0, 1),
  );
}

function file(name: string, content: string): LayerEntry {
  return { name, type: 'file', mode: 0o644, content };
}

async function entries(files: Iterable<string>): Promise<LayerEntry[]> {
  return await Promise.all([...files].map((source) => entryOf(source)));
}

/** The places of commands of this machine; what is not there is left out. */
async function programs(names: string): Promise<string[]> {
  const found: string[] = [];
  for (const name of names.split(' ')) {
    for (const folder of ['/usr/bin', '/bin', '/usr/sbin', '/usr/local/bin']) {
      const place = path.join(folder, name);
      if ((await realpath(place).catch(() => '')) === '') continue;
      found.push(place);
      break;
    }
  }
  return found;
}
