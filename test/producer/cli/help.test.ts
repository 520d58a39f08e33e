import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { Command } from 'commander';
import { catalogue } from '../../../producer/cli/catalogue.ts';
import { lendExamples } from '../../../producer/cli/verb-examples.ts';

describe('help', () => {
  test('of every command and verb has examples, and each of them is one of that command', async () => {
    const program = new Command('dray');
    for (const { name, load } of catalogue.flatMap(({ commands }) => commands)) {
      (await load()).register(program);
      const command = program.commands.find((each) => each.name() === name);
      assert.ok(command, `${name} registers another command`);
      lendExamples(command);
    }
    const without: string[] = [];
    for (const [path, command] of all(program, '')) {
      const help = helpOf(command);
      const examples = /^Examples:\n([\s\S]*)$/m.exec(help)?.[1] ?? '';
      if (!examples.includes(`dray ${path}`.split(' ').slice(0, 2).join(' '))) without.push(path);
      const words = [...examples.matchAll(/\bdray ([a-z-]+)/g)].map(([, word]) => word);
      const unknown = words.filter(
        (word) => !program.commands.some((each) => each.name() === word),
      );
      assert.deepEqual(unknown, [], `${path}: an example of no command`);
    }
    assert.deepEqual(without, []);
  });
});

function* all(command: Command, path: string): Generator<[string, Command]> {
  for (const each of command.commands) {
    const own = `${path} ${each.name()}`.trim();
    yield [own, each];
    yield* all(each, own);
  }
}

function helpOf(command: Command): string {
  let text = '';
  command.configureOutput({
    writeOut: (part) => {
      text += part;
    },
  });
  command.outputHelp();
  return text;
}
