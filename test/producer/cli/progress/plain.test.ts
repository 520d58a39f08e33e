import assert from 'node:assert/strict';
import { test } from 'node:test';
import { PlainView } from '../../../../producer/cli/progress/plain.ts';
import { digestOf } from '../../../../shared/image/digest.ts';
import { node, recorded, repeated, sink } from './recording.ts';

function plainLines(states: typeof recorded, localNode?: string): string[] {
  const stream = sink();
  const begun = performance.now() - 2_000;
  using view = new PlainView({ stream, begun, ...(localNode === undefined ? {} : { localNode }) });
  for (const status of states.slice(0, -1)) view.update(status);
  const last = states.at(-1);
  if (last !== undefined) view.finish(last);
  return stream.text().trimEnd().split('\n');
}

test('each change of state is one line', () => {
  const reference = 'registry.example:5000/library/redis:latest';
  const lines = plainLines(recorded, node);
  assert.deepEqual(lines.slice(0, -1), [
    `${reference}: resolving`,
    `${reference}: resolved ${digestOf('index')}`,
    `index-${digestOf('index')}: done 1.2 KiB`,
    `manifest-${digestOf('manifest')}: done 800 B`,
    `config-${digestOf('config')}: done 2.0 KiB`,
    `layer-${digestOf('layer-0')}: downloading 10.0 MiB`,
    `layer-${digestOf('layer-1')}: downloading 20.0 MiB`,
    `layer-${digestOf('layer-0')}: unpacking 10.0 MiB`,
    `layer-${digestOf('layer-0')}: done 10.0 MiB`,
    `layer-${digestOf('layer-1')}: unpacking 20.0 MiB`,
    `layer-${digestOf('layer-1')}: done 20.0 MiB`,
  ]);
  assert.match(lines.at(-1) ?? '', /^elapsed: 2\.\ds {2}total: 30\.0 MiB \(1[0-5]\.\d MiB\/s\)$/);
});

test('a node elsewhere has a line of its own', () => {
  const lines = plainLines(recorded);
  assert.deepEqual(
    lines.filter((line) => line.startsWith('node ')),
    ['node node-a: unpacking', 'node node-a: ready'],
  );
});

test('a pull of what is there says that nothing was transferred', () => {
  const lines = plainLines([repeated], node);
  assert.equal(lines.filter((line) => line.includes(': exists ')).length, 5);
  assert.match(lines.at(-1) ?? '', /total: 0 B {2}nothing was transferred/);
});

test('a note is shown once, without what a terminal would obey', () => {
  const [first] = recorded;
  assert.ok(first !== undefined);
  const noted = { ...first, note: 'waiting: 429 \x1b[2J' };
  const lines = plainLines([noted, noted, ...recorded], node);
  assert.equal(lines.filter((line) => line === 'waiting: 429 ?[2J').length, 1);
});
