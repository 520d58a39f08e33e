import assert from 'node:assert/strict';
import { test } from 'node:test';
import { renderLines } from '../../../../producer/cli/progress/frame.ts';
import { progressLines } from '../../../../producer/cli/progress/lines.ts';
import { PlainView } from '../../../../producer/cli/progress/plain.ts';
import { countNodes, type NodeStatus, type PullStatus } from '../../../../shared/pull/status.ts';
import { recorded } from './recording.ts';

/** A pull to a thousand nodes: so many have ended, of which some failed; some are under way. */
function rollout(ended: number, failed: number, underWay: number): PullStatus {
  const last = recorded.at(-1);
  assert.ok(last !== undefined);
  const nodes = Array.from({ length: 1_000 }, (_, i): NodeStatus => {
    const name = `node-${i}`;
    if (i < failed) {
      const error = { code: 'NO_SPACE' as const, message: `no space on ${name}`, retryable: false };
      return { name, state: 'failed', layers: [], error };
    }
    if (i < ended) return { name, state: 'ready', layers: [] };
    return { name, state: i < ended + underWay ? 'unpacking' : 'waiting', layers: [] };
  });
  const state = ended < 1_000 ? 'unpacking' : failed === 0 ? 'ready' : 'partial';
  return { ...last, state, nodes, counts: countNodes(nodes) };
}

test('of a thousand nodes a terminal shows how many are how far, those that failed and those behind', () => {
  const lines = progressLines(rollout(400, 12, 50)).filter(({ kind }) => kind === 'node');
  assert.equal(lines.length, 11);
  assert.equal(lines[0]?.detail, '388 ready, 12 failed, 50 unpacking, 550 waiting');
  assert.deepEqual(
    lines.slice(1).map(({ state }) => state),
    [...Array(5).fill('failed'), ...Array(5).fill('unpacking')],
  );
  for (const width of [60, 80, 120]) {
    const drawn = renderLines(lines, { width, color: false });
    assert.ok(drawn.every((line) => line.length < width));
    assert.match(drawn[0] ?? '', /388(\/1000)? ready, 12 failed/);
  }
});

test('a log says each tenth of the nodes, and every one that failed', () => {
  let text = '';
  using view = new PlainView({ stream: { write: (more) => (text += more) }, begun: 0 });
  for (let ended = 0; ended <= 1_000; ended += 5)
    view.update(rollout(ended, Math.min(ended, 8), 10));
  view.finish(rollout(1_000, 8, 0));
  const said = text.split('\n').filter((line) => /^(1000 nodes|node )/.test(line));
  assert.ok(said.length <= 11 + 8 + 1, `${said.length} lines`);
  assert.equal(said.filter((line) => line.includes('no space on node-')).length, 8);
  assert.equal(said.at(-1), '1000 nodes: partial 992 ready, 8 failed');
});
