import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { promisify } from 'node:util';
import { createToken, type Scope } from '../shared/access/tokens.ts';
import { startApi, type TestApi } from './producer/api/support.ts';
import { startFleet, type TestFleet } from './support/fleet.ts';
import { pushImage, tarOf } from './support/push.ts';
import { startRegistry, type TestRegistry } from './support/registry.ts';

const root = path.resolve(import.meta.dirname, '..');
const run = promisify(execFile);

/** What stands in the README for the reader's own. */
const address = 'http://127.0.0.1:7070';
const image = 'docker.io/library/redis:latest';
/** What the image of the test says for that one. */
const version = 'Redis server v=7.0.15';

describe('the examples of the README', () => {
  let section: string;
  let registry: TestRegistry;
  let fleet: TestFleet;
  let api: TestApi;
  let token: string;
  let tokens: string;
  before(async () => {
    const readme = await readFile(path.join(root, 'README.md'), 'utf8');
    section = /^## The HTTP API$([\s\S]*?)^## /m.exec(readme)?.[1] ?? '';
    registry = await startRegistry();
    fleet = await startFleet();
    const own = { DRAY_NETWORK: 'none' };
    await Promise.all([fleet.startWorker('w1'), fleet.startAgent('node-a', own)]);
    tokens = path.join(fleet.folder, 'tokens.json');
    token = await createToken(tokens, { name: 'reader', scopes: ['admin'] });
    api = await startApi({
      ...fleet.env,
      DRAY_API_TOKENS: tokens,
      DRAY_NODE: 'node-a',
      DRAY_AGENT_SOCKET: path.join(fleet.nodeRoot('node-a'), '../run/agent.sock'),
    });
    const tar = await tarOf([
      { name: 'bin/sh', mode: 0o755, content: await readFile('/bin/busybox') },
      { name: 'bin/redis-server', mode: 0o755, content: `#!/bin/sh\necho "${version}"\n` },
    ]);
    const config = { Env: ['PATH=/bin'] };
    await pushImage(registry.host, 'library/redis', 'latest', [tar], { config });
  });
  after(async () => {
    await api[Symbol.asyncDispose]();
    await fleet[Symbol.asyncDispose]();
    await registry.stop();
  });

  const local = (text: string) =>
    text.replaceAll(address, api.url).replaceAll(image, `${registry.host}/library/redis:latest`);
  const blocks = (language: string) =>
    [...section.matchAll(new RegExp(`^\`\`\`${language}\n([\\s\\S]*?)^\`\`\``, 'gm'))].map(
      ([, text = '']) => local(text),
    );

  test('every curl of it does what it says', async () => {
    const commands = blocks('sh')
      .join('\n')
      .replaceAll(/\\\n\s*/g, '')
      .split('\n')
      .filter((line) => /^curl |token create /.test(line));
    assert.ok(commands.length >= 8, `${commands.length} commands`);
    let shown = '';
    let id = '';
    let output = '';
    for (const command of commands) {
      const [, scope] = /token create \S+ --scope (\w+)/.exec(command) ?? [];
      if (scope !== undefined) {
        shown = await createToken(tokens, { name: scope, scopes: [scope as Scope] });
        continue;
      }
      const script = `${command.replace(/^curl /, 'curl --silent --show-error --fail-with-body --max-time 30 ')}`;
      const { stdout } = await run('bash', ['-c', script.replace(/\bID\b/, id)], {
        env: { ...process.env, AUTH: `Authorization: Bearer ${shown}` },
      }).catch((error: { stdout?: string; message: string }) =>
        assert.fail(`${command}: ${error.message} ${error.stdout}`),
      );
      output += stdout;
      if (id === '') id = String((JSON.parse(stdout) as { id: unknown }).id);
    }
    assert.equal((await fleet.ended(id)).state, 'ready');
    assert.ok(output.includes(`${version}\n`), 'a container that one of them runs has written it');
  });

  test('the TypeScript of it type-checks and runs', async () => {
    const [example = ''] = blocks('ts');
    const folder = await mkdtemp(path.join(tmpdir(), 'dray-readme-'));
    const file = path.join(folder, 'example.ts');
    try {
      await mkdir(path.join(folder, 'node_modules'));
      await symlink(root, path.join(folder, 'node_modules/drayage'));
      await writeFile(path.join(folder, 'package.json'), '{"type":"module"}');
      await writeFile(file, example);
      const flags = ['--noEmit', '--strict', '--skipLibCheck', '--allowImportingTsExtensions'];
      const types = ['--typeRoots', path.join(root, 'node_modules/@types'), '--types', 'node'];
      await run(
        path.join(root, 'node_modules/.bin/tsc'),
        [...flags, '--module', 'nodenext', '--target', 'es2024', ...types, file],
        { cwd: folder },
      ).catch((error: { stdout?: string }) => assert.fail(error.stdout));
      const { stdout } = await run(process.execPath, [file], {
        env: { ...process.env, TOKEN: token },
      });
      assert.match(stdout, /^ready$/m);
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  });
});
