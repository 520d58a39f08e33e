/** An agent of its own process, with the API and containers only: `node agent-process.ts ROOT SOCKET`. */
import { pino } from 'pino';
import { DrayError } from '../../../../shared/errors.ts';
import { createAgentServer, listenOnSocket } from '../../../../worker/agent/api/server.ts';
import { openNode, tinyImage } from './node.ts';

const [root, socket] = process.argv.slice(2);
if (root === undefined || socket === undefined) throw new Error('ROOT and SOCKET are needed');
const refuse = async () => {
  throw new DrayError('INTERNAL', 'this agent has no layers');
};
const node = await openNode(root);
// As the real one does.
await node.snapshots.sweep({ isClaimed: (target) => node.containers.isClaimed(target) });
const server = createAgentServer({
  node: 'test',
  version: '0',
  containers: node.containers,
  snapshots: node.snapshots,
  images: { find: async () => tinyImage() },
  unpack: refuse,
  apply: async (layer, target) => {
    let bytes = 0;
    for await (const chunk of layer) bytes += chunk.length;
    throw new DrayError('LAYER_INVALID', `${bytes} bytes for ${target}`);
  },
  log: pino({ level: 'silent' }),
});
await listenOnSocket(server, socket);
process.stdout.write('ready\n');
