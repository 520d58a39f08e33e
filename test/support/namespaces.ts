import { execFile } from 'node:child_process';
import { randomInt } from 'node:crypto';
import { promisify } from 'node:util';

const run = promisify(execFile);

/** A network namespace for programs that reach the services of a test by one address, until they are cut off. */
export interface Namespace {
  /** For `nsenter --net=`. */
  path: string;
  /** From now on nothing comes from or goes to that port of the services, and nobody is told so. */
  cut: (port: number) => Promise<void>;
  heal: (port: number) => Promise<void>;
}

export interface Namespaces extends AsyncDisposable {
  /** Where services listen, so that programs in every namespace and outside reach them. */
  address: string;
  add: (name: string) => Promise<Namespace>;
}

export const namespaceTools = ['ip', 'iptables', 'nsenter'];

/** Needs root. Everything that was made goes when it is disposed. */
export async function openNamespaces(): Promise<Namespaces> {
  const net = `10.${randomInt(64, 250)}.${randomInt(256)}`;
  const address = `${net}.1`;
  const tag = randomInt(1e6).toString(36);
  const names: string[] = [];
  const ip = async (...args: string[]) => await run('ip', args);
  await ip('address', 'add', `${address}/32`, 'dev', 'lo');
  return {
    address,
    add: async (name) => {
      // An interface's name has 15 characters at most.
      const full = `dr${tag}${name}`.slice(0, 13);
      const [outer, inner] = [`${full}o`, `${full}i`];
      const subnet = 4 * (names.length + 1);
      names.push(full);
      const inside = (...args: string[]) => ip('netns', 'exec', full, ...args);
      await ip('netns', 'add', full);
      await ip('link', 'add', outer, 'type', 'veth', 'peer', 'name', inner, 'netns', full);
      await ip('address', 'add', `${net}.${subnet + 1}/30`, 'dev', outer);
      await ip('link', 'set', outer, 'up');
      await inside('ip', 'link', 'set', 'lo', 'up');
      await inside('ip', 'address', 'add', `${net}.${subnet + 2}/30`, 'dev', inner);
      await inside('ip', 'link', 'set', inner, 'up');
      await inside('ip', 'route', 'add', 'default', 'via', `${net}.${subnet + 1}`);
      const rule = async (change: '-A' | '-D', port: number) => {
        const drop = ['-j', 'DROP'];
        await inside(
          'iptables',
          '-w',
          change,
          'OUTPUT',
          '-p',
          'tcp',
          '--dport',
          `${port}`,
          ...drop,
        );
        await inside('iptables', '-w', change, 'INPUT', '-p', 'tcp', '--sport', `${port}`, ...drop);
      };
      return {
        path: `/run/netns/${full}`,
        cut: (port) => rule('-A', port),
        heal: (port) => rule('-D', port),
      };
    },
    async [Symbol.asyncDispose]() {
      // A namespace takes its interfaces along.
      for (const name of names) await ip('netns', 'delete', name);
      await ip('address', 'delete', `${address}/32`, 'dev', 'lo');
    },
  };
}
