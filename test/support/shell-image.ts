import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { promisify } from 'node:util';
import { type BuiltImage, type ImageOptions, pushImage, type TarEntry, tarOf } from './push.ts';

const busybox = '/bin/busybox';

/** Pushes an image of busybox with all its applets: a shell with job control, stty, ps, tar and the like. */
export async function pushShellImage(
  host: string,
  repository = 'shell',
  config: ImageOptions['config'] = {},
): Promise<BuiltImage> {
  const { stdout } = await promisify(execFile)(busybox, ['--list']);
  const folder = (name: string, mode = 0o755): TarEntry => ({ name, type: 'directory', mode });
  const tar = await tarOf([
    ...['bin', 'etc', 'root', 'data'].map((name) => folder(name)),
    folder('tmp', 0o1777),
    { name: 'bin/busybox', mode: 0o755, content: await readFile(busybox) },
    ...stdout
      .split('\n')
      .filter((applet) => applet !== '' && applet !== 'busybox')
      .map(
        (applet): TarEntry => ({
          name: `bin/${applet}`,
          type: 'symlink',
          linkname: 'busybox',
        }),
      ),
    { name: 'bin/broken', mode: 0o755, content: 'no program\n' },
    {
      name: 'etc/passwd',
      content: 'root:x:0:0:root:/root:/bin/sh\nalice:x:1000:1001:Alice:/home/alice:/bin/sh\n',
    },
    { name: 'etc/group', content: 'root:x:0:\nalice:x:1001:\nextra:x:1500:alice\n' },
  ]);
  return await pushImage(host, repository, 'v1', [tar], {
    config: { Cmd: ['/bin/sh'], Env: ['PATH=/bin'], ...config },
  });
}
