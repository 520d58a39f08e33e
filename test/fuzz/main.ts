/** `npm run fuzz [-- --seconds 60 --seed N --target archive|documents --input N]`: exit code 1 for a finding. */
import { parseArgs } from 'node:util';
import { fuzz, type TargetName, targetNames } from './run.ts';

const { values } = parseArgs({
  options: {
    seconds: { type: 'string', default: '60' },
    seed: { type: 'string', default: String(Date.now() % 2 ** 31) },
    target: { type: 'string' },
    input: { type: 'string' },
  },
});
const seed = Number(values.seed);
const chosen = targetNames.filter((name) => values.target === undefined || name === values.target);
const milliseconds = (Number(values.seconds) * 1000) / chosen.length;
if (chosen.length === 0 || !Number.isInteger(seed) || !(milliseconds > 0)) {
  throw new Error(`--target is one of ${targetNames.join(', ')}; --seed and --seconds are numbers`);
}
const one = values.input === undefined ? {} : { from: Number(values.input), count: 1 };
for (const target of chosen satisfies TargetName[]) {
  const { inputs, finding } = await fuzz({ target, seed, from: 0, milliseconds, ...one });
  console.log(`${target}: ${inputs} inputs, seed ${seed}`);
  if (finding !== undefined) {
    console.error(`${target}: ${finding}`);
    process.exitCode = 1;
  }
}
