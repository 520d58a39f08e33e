import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { access } from 'node:fs/promises';
import path from 'node:path';
import { text } from 'node:stream/consumers';
import { test } from 'node:test';
import { requireThat, requireTool } from '../support/requirements.ts';
import { requireContainers } from '../worker/agent/containers/node.ts';

const suites = ['bridge.ts', 'service.ts'];

/** Each suite has a network namespace of its own, with only a loopback device: no bridge or rule is the machine's. */
for (const suite of suites) {
  test(`in a network namespace of its own: ${suite}`, async (t) => {
    if (!requireContainers(t)) return;
    if (!requireTool(t, 'unshare', 'ip', 'iptables', 'docker-registry', 'redis-server')) return;
    const plugin = await access('/usr/lib/cni/bridge').then(
      () => true,
      () => false,
    );
    if (!requireThat(t, plugin, 'containernetworking-plugins not installed')) return;
    const file = path.join(import.meta.dirname, 'network', suite);
    const child = spawn(
      'unshare',
      [
        '--net',
        'sh',
        '-c',
        'ip link set lo up && exec "$@"',
        'sh',
        process.execPath,
        '--test',
        file,
      ],
      // Node's test runner would otherwise take the suite for one of its own files, and report to this one.
      { env: { ...process.env, NODE_TEST_CONTEXT: undefined }, stdio: ['ignore', 'pipe', 'pipe'] },
    );
    const [output, errors] = await Promise.all([text(child.stdout), text(child.stderr)]);
    assert.match(output, /^(#|ℹ) fail 0$/m, `${output}${errors}`);
    assert.match(output, /^(#|ℹ) pass [1-9]/m, `${output}${errors}`);
  });
}
