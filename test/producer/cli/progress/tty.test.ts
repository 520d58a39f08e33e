import assert from 'node:assert/strict';
import { test } from 'node:test';
import { stripVTControlCharacters } from 'node:util';
import { TerminalView } from '../../../../producer/cli/progress/tty.ts';
import { blob, node, recorded, repeated, sink } from './recording.ts';

const begun = () => performance.now() - 1_000;
const first = recorded[0] ?? assert.fail();
const last = recorded.at(-1) ?? assert.fail();

/** A terminal on which a pull has begun to be drawn. */
function draw() {
  const stream = sink({ columns: 80 });
  const view = new TerminalView({ stream, color: false, begun: begun(), localNode: node });
  view.update(first);
  return { stream, view };
}

function lastFrame(stream: ReturnType<typeof sink>): string[] {
  return stripVTControlCharacters(stream.last()).trimEnd().split('\n');
}

for (const columns of [20, 40, 80, 120, 200]) {
  test(`no line is wider than a terminal of ${columns} columns`, () => {
    for (const status of recorded) {
      const stream = sink({ columns, rows: 24 });
      const view = new TerminalView({ stream, color: true, begun: begun(), localNode: node });
      view.finish(status);
      for (const line of lastFrame(stream)) {
        assert.ok(line.length < columns, `${line.length} columns: ${line}`);
      }
      view[Symbol.dispose]();
    }
  });
}

test('lines show bars, bytes and states', () => {
  const stream = sink({ columns: 80 });
  using view = new TerminalView({ stream, color: false, begun: begun(), localNode: node });
  const status = recorded[4];
  assert.ok(status !== undefined);
  view.update(status);
  const lines = lastFrame(stream);
  assert.match(lines[0] ?? '', /^registry\.example:5000\/library\/redis:latest: resolved sha256:/);
  assert.match(lines[2] ?? '', /^manifest-sha256:[0-9a-f]{12}: done {8}\|\++\| 800 B$/);
  assert.match(lines[4] ?? '', /^layer-sha256:[0-9a-f]{12}: {4}unpacking {3}\|\++\| 10\.0 MiB$/);
  assert.match(
    lines[5] ?? '',
    /^layer-sha256:[0-9a-f]{12}: {4}downloading \|\++-+\| 12\.0\/20\.0 MiB 0 B\/s$/,
  );
  assert.match(lines[6] ?? '', /^elapsed: 1\.\ds {2}total: 22\.0 MiB/);
});

test('the next drawing begins where the one before began', () => {
  const { stream, view } = draw();
  view.finish(last);
  // One line for the reference, one for the summary.
  assert.ok(stream.last().startsWith('\r\x1b[2A'), JSON.stringify(stream.last().slice(0, 10)));
  view[Symbol.dispose]();
  assert.ok(stream.text().startsWith('\x1b[?25l'));
  assert.ok(stream.text().endsWith('\x1b[?25h'), 'the cursor is given back');
});

test('of a cancelled pull nothing is shown as if it went on', () => {
  const stream = sink({ columns: 80 });
  using view = new TerminalView({ stream, color: false, begun: begun(), localNode: node });
  const status = recorded[4];
  assert.ok(status !== undefined);
  view.finish({ ...status, state: 'cancelled' });
  const lines = lastFrame(stream);
  assert.match(lines[3] ?? '', /^config-sha256:[0-9a-f]{12}: {3}done /);
  assert.match(lines[4] ?? '', /^layer-sha256:[0-9a-f]{12}: {4}stopped {5}\|\++\| 10\.0 MiB$/);
  assert.match(lines[5] ?? '', /^layer-sha256:[0-9a-f]{12}: {4}stopped {5}\|\++-+\| 20\.0 MiB$/);
});

test('a line beside the pull stands above it, and stays', () => {
  const { stream, view } = draw();
  const before = stream.text().length;
  view.say('started worker again');
  assert.ok(
    stream.text().slice(before).startsWith('\r\x1b[2A\x1b[Jstarted worker again\n'),
    JSON.stringify(stream.text().slice(before)),
  );
  view.finish(last);
  // Two rows of the pull are drawn over, not the line above them.
  assert.ok(stream.last().startsWith('\r\x1b[2A'), JSON.stringify(stream.last().slice(0, 10)));
  view.say('afterwards');
  assert.equal(stream.last(), 'afterwards\n');
  view[Symbol.dispose]();
});

test('a terminal that became narrower has wrapped the lines above', () => {
  const { stream, view } = draw();
  using _shown = view;
  const [reference = '', summary = ''] = lastFrame(stream);
  stream.columns = 30;
  view.finish(last);
  const rows = Math.ceil(reference.length / 30) + Math.ceil(summary.length / 30);
  assert.ok(stream.last().startsWith(`\r\x1b[${rows}A`));
});

test('more lines than rows: what moves is shown, the end shows all', () => {
  const stream = sink({ columns: 80, rows: 10 });
  using view = new TerminalView({ stream, color: false, begun: begun(), localNode: node });
  const [, , , moving] = recorded;
  assert.ok(moving !== undefined);
  const layers = Array.from({ length: 30 }, (_, i) =>
    blob(
      'layer',
      `many-${i}`,
      1_000,
      i === 20 ? { state: 'fetching', bytes: 1 } : { state: 'waiting', bytes: 0 },
    ),
  );
  const status = { ...moving, blobs: layers };
  view.update(status);
  const lines = lastFrame(stream);
  assert.ok(lines.length < 10, `${lines.length} lines`);
  assert.equal(lines.filter((line) => line.includes('downloading')).length, 1);
  assert.ok(lines.includes('… and 24 more'), lines.join('\n'));
  view.finish(status);
  assert.equal(lastFrame(stream).length, 32);
});

test('what was there shows as exists', () => {
  const stream = sink({ columns: 80 });
  using view = new TerminalView({ stream, color: false, begun: begun(), localNode: node });
  view.finish(repeated);
  const lines = lastFrame(stream);
  assert.equal(lines.filter((line) => line.includes(' exists ')).length, 5);
  assert.match(lines.at(-1) ?? '', /nothing was transferred/);
});
