/** `npm run bench:start`: how long `dray run IMAGE /bin/true` takes beside `ctr run`, from command to exit. */
import assert from 'node:assert/strict';
import { parseArgs } from 'node:util';
import { startContainerd } from '../support/containerd.ts';
import { startDray } from '../support/dray.ts';
import { startRegistry } from '../support/registry.ts';
import { pushShellImage } from '../support/shell-image.ts';
import { median } from './table.ts';

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '15' },
    crowd: { type: 'string', default: '50' },
    networks: { type: 'string', default: 'none,host' },
  },
});

const registry = await startRegistry();
const { reference } = await pushShellImage(registry.host);
await using containerd = await startContainerd();
await containerd.pull(reference);
await using dray = await startDray();
await dray.dray('pull', reference);

let runs = 0;
const runByCtr = (...options: string[]) =>
  containerd.ctr('run', '--rm', ...options, reference, `run-${runs++}`, '/bin/true');
const ways: Record<string, () => Promise<unknown>> = {
  ctr: () => runByCtr(),
  // As drayage has one.
  'ctr, --seccomp': () => runByCtr('--seccomp'),
};
for (const network of values.networks.split(',')) {
  ways[`dray, --net ${network}`] = () =>
    dray.dray('run', '--rm', '--net', network, reference, '/bin/true');
}

const times = new Map<string, number[]>(Object.keys(ways).map((name) => [name, []]));
for (const run of Object.values(ways)) await run();
for (let round = 0; round < Number(values.rounds); round++) {
  // Side by side, so that what else the machine does weighs on all alike.
  for (const [name, run] of Object.entries(ways)) {
    const begun = performance.now();
    await run();
    times.get(name)?.push(performance.now() - begun);
  }
}
console.log(`median of ${values.rounds}, from command to exit`);
for (const name of times.keys()) {
  const ratio = (median(times.get(name) ?? []) / median(times.get('ctr') ?? [])).toFixed(2);
  console.log(
    `${name.padEnd(20)} ${median(times.get(name) ?? [])
      .toFixed(0)
      .padStart(5)} ms  ${ratio} of ctr's`,
  );
}

const crowd = Number(values.crowd);
const begun = performance.now();
const results = await Promise.all(
  Array.from({ length: crowd }, () =>
    dray.tryDray('run', '--rm', '--net', 'none', reference, '/bin/true'),
  ),
);
const failed = results.filter(({ exitCode }) => exitCode !== 0);
console.log(
  `${crowd} at once: ${((performance.now() - begun) / 1000).toFixed(1)} s, ${failed.length} failed`,
);
for (const { stderr } of failed) console.log(stderr);
await registry.stop();
assert.equal(failed.length, 0);
