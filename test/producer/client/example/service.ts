/** An example of a service: it has an image brought to nodes before it deploys, and says how that goes. */
import { DrayageClient, DrayageError, type Pull } from 'drayage';

const { DRAY_URL = 'http://127.0.0.1:7070', TOKEN, NODES = '' } = process.env;
const [reference = ''] = process.argv.slice(2);
const client = new DrayageClient({
  url: DRAY_URL,
  ...(TOKEN === undefined ? {} : { token: TOKEN }),
});
const nodes = NODES.split(',').filter((name) => name !== '');

try {
  const { id } = await client.pull({ reference, nodes, priority: 'high' });
  let last: Pull | undefined;
  for await (const pull of client.waitForPull(id, { signal: AbortSignal.timeout(600_000) })) {
    last = pull;
    const stored = pull.blobs.filter(({ state }) => state === 'stored').length;
    console.log(
      `${pull.state}: ${stored} of ${pull.blobs.length} blobs, ${pull.counts.ready} of ${nodes.length} nodes`,
    );
  }
  if (last?.state !== 'ready') throw new Error(last?.error?.message ?? 'the pull is gone');
  console.log(`${last.reference} is ${last.target?.digest}`);
} catch (error) {
  const hint = error instanceof DrayageError ? error.hint : undefined;
  console.error(
    `${error instanceof Error ? error.message : error}${hint === undefined ? '' : `\n${hint}`}`,
  );
  process.exitCode = 1;
}
