/**
 * `npm run build`: the command, and all that its start loads, in one file. It starts in two thirds of the time that
 * some sixty modules take. Nothing needs it: without it, and after a change of any source, the sources run.
 */
import { mkdir, readFile, rename, stat, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { build, type Plugin } from 'esbuild';
import { bundle, folder, root, type Source } from './place.ts';

/** Each file is told its own path, as Node tells it: from where the bundle is, so that both can be moved. */
const ownPaths: Plugin = {
  name: 'own paths',
  setup(building) {
    building.onLoad({ filter: /\.ts$/ }, async ({ path: file }) => {
      const text = await readFile(file, 'utf8');
      const own = JSON.stringify(path.relative(folder, file));
      return {
        loader: 'ts',
        contents: text
          .replaceAll('import.meta.dirname', `${builtin('path')}.join(__dirname, ${own}, '..')`)
          .replaceAll(
            'import.meta.url',
            `${builtin('url')}.pathToFileURL(${builtin('path')}.join(__dirname, ${own})).href`,
          ),
      };
    });
  },
};

const begun = Date.now();
const { metafile, outputFiles } = await build({
  absWorkingDir: root,
  entryPoints: ['producer/cli/bundle/start.ts'],
  bundle: true,
  platform: 'node',
  target: 'node24',
  // What takes the time is linking modules, and the namespaces that Node makes of its own for them.
  format: 'cjs',
  outfile: bundle,
  write: false,
  // Names stay: errors tell those of classes.
  minifyWhitespace: true,
  minifySyntax: true,
  // Each command needs commander; the others are loaded by what needs them, from their own files.
  external: (await dependencies()).filter((name) => name !== 'commander'),
  plugins: [ownPaths],
  metafile: true,
  logLevel: 'warning',
});

const sources = await Promise.all(
  Object.keys(metafile.inputs).map(async (file): Promise<Source> => {
    const { size, mtimeMs } = await stat(path.join(root, file));
    if (mtimeMs >= begun) throw new Error(`${file} changed while it was read; run this again`);
    return [file, size, mtimeMs];
  }),
);
const next = `${bundle}.${process.pid}`;
await mkdir(folder, { recursive: true });
await writeFile(next, `const sources=${JSON.stringify(sources)};\n${outputFiles[0]?.text}`, {
  flush: true,
});
await rename(next, bundle);

/** A file may have a `require` of its own. */
function builtin(name: string): string {
  return `process.getBuiltinModule('node:${name}')`;
}

async function dependencies(): Promise<string[]> {
  const { dependencies } = JSON.parse(await readFile(path.join(root, 'package.json'), 'utf8'));
  return Object.keys(dependencies);
}
