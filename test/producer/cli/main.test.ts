import assert from 'node:assert/strict';
import { chmod, copyFile, mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { Command } from 'commander';
import { catalogue } from '../../../producer/cli/catalogue.ts';
import { digestOf } from '../../../shared/image/digest.ts';
import { dray, launcher } from './dray.ts';

describe('dray', () => {
  let folder: string;
  let env: NodeJS.ProcessEnv;
  before(async () => {
    folder = await mkdtemp(path.join(tmpdir(), 'dray-cli-'));
    env = { DRAY_STATE: path.join(folder, 'state') };
  });
  after(async () => {
    await rm(folder, { recursive: true, force: true });
  });

  test('--help lists every command', async () => {
    const { code, stdout } = await dray(['--help'], { env });
    assert.equal(code, 0);
    for (const { commands } of catalogue) {
      for (const { name, summary } of commands) {
        assert.match(stdout, new RegExp(`^  ${name} +${summary.slice(0, 20)}`, 'm'));
      }
    }
  });

  test('every command registers under its name, with a description', async () => {
    for (const { load, name } of catalogue.flatMap(({ commands }) => commands)) {
      const program = new Command();
      (await load()).register(program);
      assert.deepEqual(
        program.commands.map((command) => command.name()),
        [name],
      );
      assert.notEqual(program.commands[0]?.description(), '');
    }
  });

  test('wrong usage ends with 2 and a hint', async () => {
    const cases: [string[], RegExp][] = [
      [['pul'], /unknown command 'pul'\n\(Did you mean pull\?\)\n {2}hint: dray --help/],
      [['pull'], /missing required argument 'reference'\n {2}hint: dray pull --help/],
      [['pull', 'UPPER CASE'], /is not a reference|UPPER CASE[\s\S]*hint: /],
      [['content', 'get', 'sha256:12'], /is not a digest\n {2}hint: /],
      [['pull', '--progress', 'loud', 'a'], /choices|Allowed/],
      [['fetch-object', 'alpine'], /has no digest\n {2}hint: /],
      [['--config', '/nowhere/config.json', 'images'], /\/nowhere\/config\.json/],
      [['images', 'lst'], /unknown command 'images lst'\n {2}hint: dray images --help/],
      [['images', 'rm'], /missing required argument 'reference'\n {2}hint: dray images rm --help/],
      [['content', 'ingest', '--expected-size', 'x'], /\n {2}hint: dray content ingest --help/],
      [['help', 'nope'], /unknown command 'nope'\n {2}hint: dray --help/],
      [['pull', digestOf('a')], /a digest without a repository\n {2}hint: /],
    ];
    for (const [args, message] of cases) {
      const { code, stdout, stderr } = await dray(args, { env });
      assert.equal(code, 2, `${args.join(' ')}: ${stderr}`);
      assert.match(stderr, message);
      assert.match(stderr, /^dray: error: /);
      assert.equal(stdout, '');
    }
  });

  test('wrong usage of dray run is not taken for the exit code of its command', async () => {
    for (const args of [['run', '--frobnicate', 'a'], ['run'], ['run', '--net', 'nope', 'a']]) {
      const { code, stderr } = await dray(args, { env });
      assert.equal(code, 125, stderr);
      assert.match(stderr, /^dray: error: .*\n {2}hint: /);
    }
  });

  test('no help is wider than 80 columns, and descriptions are sentences', async () => {
    const names = catalogue.flatMap(({ commands }) => commands.map(({ name }) => name));
    for (const args of [[], ...names.map((name) => [name])]) {
      const { stdout } = await dray([...args, '--help'], { env });
      const lines = stdout.slice(0, stdout.indexOf('Examples:') >>> 0).split('\n');
      assert.deepEqual(
        lines.filter((line) => line.length > 80),
        [],
      );
      assert.match(lines.slice(2).join('\n').trimStart(), /^[A-Z]/);
    }
  });

  test('what cannot be written is said, and a reader that goes away is no failure of ours', async () => {
    const bytes = Buffer.alloc(4 * 1024 * 1024, 'x');
    const { stdout } = await dray(['content', 'ingest'], { env, input: bytes });
    const shell = async (script: string) =>
      await dray(['-c', script.replaceAll('DRAY', `"${launcher}"`)], { env, program: '/bin/sh' });
    const get = `DRAY content get ${stdout.trim()}`;
    for (const command of [get, 'DRAY content ls', 'DRAY --help']) {
      const { code, stderr } = await shell(`${command} >/dev/full`);
      assert.equal(code, 1, command);
      assert.match(stderr, /^dray: error: The output can't be written: .* is full\n {2}hint: /);
    }
    const cut = await shell(`{ ${get}; echo $? >&2; } | head -c 1`);
    assert.deepEqual([cut.stdout, cut.stderr], ['x', '141\n']);
    await dray(['content', 'rm', stdout.trim()], { env });
  });

  test('a Redis that is down is a failure within seconds', async () => {
    const begun = Date.now();
    const { code, stderr } = await dray(['pull', '--node', 'a', 'alpine'], {
      env: { ...env, REDIS_URL: 'redis://:canary-secret@127.0.0.1:1' },
    });
    assert.equal(code, 1);
    assert.match(stderr, /Redis at redis:\/\/…@127\.0\.0\.1:1 can't be used: connect ECONNREFUSED/);
    assert.doesNotMatch(stderr, /canary-secret/);
    assert.ok(Date.now() - begun < 20_000);
  });

  test('programs of a fleet want a Redis', async () => {
    for (const name of ['worker', 'agent']) {
      const { code, stderr } = await dray([name], { env });
      assert.equal(code, 2);
      assert.match(stderr, /no REDIS_URL is set/);
    }
  });

  test('an option of a program that is wrong is told as any other', async () => {
    const env = { REDIS_URL: 'redis://127.0.0.1:1' };
    const { code, stderr } = await dray(['serve', '--listen', '127.0.0.1:99999999'], { env });
    assert.equal(code, 2);
    assert.match(stderr, /^dray: error: The setting api\.listen .* HOST:PORT\n {2}hint: /);
  });

  test('a reader that goes away ends the command', async () => {
    const { code } = await dray(['-c', `"${launcher}" --help | head -1`], {
      env,
      program: '/bin/sh',
    });
    assert.equal(code, 0);
  });

  test('the launcher is found through links, and says which Node it needs', async () => {
    const link = path.join(folder, 'link');
    await symlink(launcher, link);
    await symlink('link', path.join(folder, 'second'));
    const linked = await dray(['--version'], { env, program: path.join(folder, 'second') });
    assert.match(linked.stdout, /^\d+\.\d+\.\d+\n$/);

    // A checkout without the package that brings Node, on a machine whose own is old.
    const elsewhere = path.join(folder, 'checkout', 'producer', 'cli');
    const bin = path.join(folder, 'bin');
    await mkdir(elsewhere, { recursive: true });
    await mkdir(bin);
    await copyFile(launcher, path.join(elsewhere, 'dray'));
    const write = async (version: string) => {
      const text = `#!/bin/sh\n[ "$1" = --version ] && echo ${version} || echo "ran $*"\n`;
      await writeFile(path.join(bin, 'node'), text);
      await chmod(path.join(bin, 'node'), 0o755);
    };
    const run = async (version: string) => {
      await write(version);
      const own = { ...env, PATH: `${bin}:/usr/bin:/bin` };
      return await dray(['images'], { env: own, program: path.join(elsewhere, 'dray') });
    };
    for (const version of ['v20.20.2', 'v24.11.1', 'nonsense']) {
      const { code, stderr } = await run(version);
      assert.equal(code, 1);
      assert.match(stderr, /Node 24\.12 or newer is needed/);
    }
    for (const version of ['v24.12.0', 'v25.0.0', 'v100.1.0']) {
      const { code, stdout } = await run(version);
      assert.equal(code, 0, version);
      assert.match(stdout, /^ran .*main\.ts images\n$/);
    }
  });

  describe('content', () => {
    const bytes = Buffer.from('some bytes of a blob\n');
    const digest = digestOf(bytes);

    test('ingest, ls, get and rm', async () => {
      const added = await dray(['content', 'ingest'], { env, input: bytes });
      assert.deepEqual(added, { code: 0, stdout: `${digest}\n`, stderr: '' });
      const again = await dray(
        ['content', 'ingest', '--expected-digest', digest, '--expected-size', `${bytes.length}`],
        { env, input: bytes },
      );
      assert.deepEqual(again, { code: 0, stdout: `${digest}\n`, stderr: '' });
      const listed = await dray(['content', 'ls'], { env });
      assert.match(
        listed.stdout,
        new RegExp(`^DIGEST +SIZE +CREATED\n${digest} +21 B +\\d+ s ago\n$`),
      );
      assert.equal((await dray(['content', '-q'], { env })).stdout, `${digest}\n`);
      const json = JSON.parse((await dray(['content', 'ls', '-o', 'json'], { env })).stdout);
      assert.equal(json[0].digest, digest);
      assert.equal((await dray(['content', 'get', digest], { env })).stdout, bytes.toString());
      assert.equal((await dray(['content', 'rm', digest], { env })).code, 0);
      const gone = await dray(['content', 'get', digest], { env });
      assert.equal(gone.code, 1);
      assert.match(gone.stderr, /^dray: error: .*\n {2}hint: /);
      const twice = await dray(['content', 'rm', digest], { env });
      assert.equal(twice.code, 1);
    });

    test('what is not as expected leaves nothing', async () => {
      const other = digestOf('something else');
      for (const expected of [
        ['--expected-digest', other],
        ['--expected-size', '3'],
        ['--expected-digest', other, '--expected-size', `${bytes.length}`],
        ['--expected-digest', digest, '--expected-size', '3'],
      ]) {
        const { code, stdout } = await dray(['content', 'ingest', ...expected], {
          env,
          input: bytes,
        });
        assert.equal(code, 1, expected.join(' '));
        assert.equal(stdout, '');
      }
      assert.equal((await dray(['content', 'ls', '-q'], { env })).stdout, '');
    });

    test('nothing is in flight', async () => {
      const { stdout } = await dray(['active', '-o', 'json'], { env });
      assert.ok(Array.isArray(JSON.parse(stdout)));
    });
  });
});
