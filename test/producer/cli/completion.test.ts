import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify, stripVTControlCharacters } from 'node:util';
import { spawn } from '@lydell/node-pty';
import { requireTool } from '../../support/requirements.ts';
import { dray } from './dray.ts';

const run = promisify(execFile);

/** What has been typed, and what is offered for its last word. */
const offers: [line: string, words: string[]][] = [
  ['dray imag', ['images']],
  ['dray images ', ['help', 'ls', 'rm', 'tag']],
  ['dray images -o ', ['json', 'table', 'wide', 'yaml']],
  ['dray images ls --qu', ['--quiet']],
  ['dray pull --progress ', ['auto', 'json', 'none', 'plain', 'tty']],
  ['dray token create --scope ', ['admin', 'pull', 'read', 'run']],
  ['dray --config file imag', ['images']],
  ['dray completion --he', ['--help']],
];

describe('dray completion', () => {
  let folder: string;
  const script = (shell: string) => path.join(folder, `dray.${shell}`);

  before(async () => {
    folder = await mkdtemp(path.join(tmpdir(), 'dray-completion-'));
    for (const shell of ['bash', 'zsh', 'fish']) {
      const { code, stdout, stderr } = await dray(['completion', shell]);
      assert.equal(code, 0, stderr);
      await writeFile(script(shell), stdout);
    }
  });
  after(() => rm(folder, { recursive: true, force: true }));

  test('bash', async () => {
    for (const [line, words] of offers) {
      const typed = line.split(' ').map((word) => `'${word}'`);
      const { stdout } = await run('bash', [
        ...['--norc', '-c'],
        `source ${script('bash')}; COMP_WORDS=(${typed.join(' ')}); COMP_CWORD=${typed.length - 1}
         _dray; printf '%s\\n' "\${COMPREPLY[@]}"`,
      ]);
      assert.deepEqual(stdout.trim().split('\n').toSorted(), words, line);
    }
  });

  test('fish', async (t) => {
    if (!requireTool(t, 'fish')) return;
    for (const [line, words] of offers) {
      const { stdout } = await run('fish', [
        '-N',
        '-c',
        `source ${script('fish')}; complete -C '${line}'`,
      ]);
      const offered = stdout
        .trim()
        .split('\n')
        .map((each) => each.split('\t')[0] ?? '');
      assert.deepEqual(offered.toSorted(), words, line);
    }
  });

  test('zsh, as a person has it', async (t) => {
    if (!requireTool(t, 'zsh')) return;
    const shell = spawn('zsh', ['-f', '-i'], {
      cols: 100,
      rows: 40,
      cwd: folder,
      env: { PATH: process.env.PATH ?? '', HOME: folder, TERM: 'xterm' },
    });
    let screen = '';
    shell.onData((data) => {
      screen = stripVTControlCharacters(screen + data);
    });
    const until = async (wanted: RegExp) => {
      for (let waited = 0; !wanted.test(screen); waited += 20) {
        assert.ok(waited < 60_000, `${wanted} does not come: ${JSON.stringify(screen)}`);
        await sleep(20);
      }
      screen = '';
    };
    try {
      shell.write(
        `PS1='ready> '; autoload -U compinit; compinit -u -D; source ${script('zsh')}; echo lo''aded\r`,
      );
      await until(/loaded\r\n[\s\S]*ready> /);
      shell.write('dray imag\t');
      await until(/images /);
      shell.write('l\t');
      await until(/ls /);
      shell.write('--qui\t');
      await until(/--quiet /);
      shell.write('-o \t\t');
      await until(/json[\s\S]*yaml/);
    } finally {
      shell.kill();
    }
  });

  test('an unknown shell is wrong usage', async () => {
    const { code, stderr } = await dray(['completion', 'csh']);
    assert.equal(code, 2);
    assert.match(stderr, /Allowed choices are bash, zsh, fish/);
  });
});
