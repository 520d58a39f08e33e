import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { buildSample } from './image.ts';
import { parseTarget, pushImage } from './push.ts';

/** `node deploy/sample/main.ts HOST:PORT/REPOSITORY:TAG`: makes the sample image and pushes it by plain http. */
async function main(reference: string | undefined): Promise<void> {
  if (reference === undefined) {
    throw new Error('usage: node deploy/sample/main.ts HOST:PORT/REPOSITORY:TAG');
  }
  const target = parseTarget(reference);
  const folder = await mkdtemp(path.join(tmpdir(), 'dray-sample-'));
  try {
    const image = await buildSample({ folder });
    const what = ['libraries and a shell', 'redis', 'deletes and replaces files of the first two'];
    for (const [index, { descriptor, entries }] of image.layers.entries()) {
      const size = (descriptor.size / 1e6).toFixed(1);
      console.log(`layer ${index + 1}: ${entries} entries, ${size} MB (${what[index]})`);
    }
    console.log(`${reference}@${await pushImage(target, image.layers, image.config)}`);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

await main(process.argv[2]).catch((error: unknown) => {
  const { message, cause } = error instanceof Error ? error : new Error(String(error));
  console.error(`sample: ${message}${cause instanceof Error ? `: ${cause.message}` : ''}`);
  process.exitCode = 1;
});
