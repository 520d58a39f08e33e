import { openStore } from '../../../shared/content/open.ts';
import { describeBytes, sampleBytes, writeFrom } from './sample.ts';

/** A writer in a process of its own, which writes a part of a blob and then waits to be killed. */
const [config = '', size = '', seed = '', end = ''] = process.argv.slice(2);
const bytes = sampleBytes(Number(size), seed);
const store = await openStore(JSON.parse(config));
const ingest = await store.content.ingest(describeBytes(bytes));
await writeFrom(ingest, bytes, ingest.offset, Number(end));
process.stdout.write('written\n');
setInterval(() => {}, 60_000);
