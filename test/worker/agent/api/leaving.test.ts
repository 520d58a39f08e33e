import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readdirSync, readlinkSync } from 'node:fs';
import { connect } from 'node:net';
import path from 'node:path';
import { test } from 'node:test';
import { pino } from 'pino';
import { createAgentServer, listenOnSocket } from '../../../../worker/agent/api/server.ts';
import { until } from '../../../support/until.ts';
import { imageName, requireContainers, temporaryNode, tinyImage } from '../containers/node.ts';

test('who leaves before the answer has begun leaves no file open in the agent', async (t) => {
  if (!requireContainers(t)) return;
  await using node = await temporaryNode();
  const { containers, snapshots, root } = node;
  const server = createAgentServer({
    ...{ node: 'test', version: '0', containers, snapshots },
    images: { find: async () => tinyImage() },
    unpack: () => assert.fail(),
    apply: () => assert.fail(),
    log: pino({ level: 'silent' }),
  });
  const socketPath = path.join(root, 'agent.sock');
  await listenOnSocket(server, socketPath);
  t.after(() => server.close());
  // Node itself closes what was forgotten, sooner or later, and says so.
  const warnings: string[] = [];
  const onWarning = ({ message }: Error) => void warnings.push(message);
  process.on('warning', onWarning);
  t.after(() => process.off('warning', onWarning));

  const args = ['sleep', '1000'];
  await containers.create({ id: 'c', image: imageName, options: { args, stdin: true } });
  await containers.start('c');
  const open = () =>
    readdirSync('/proc/self/fd').flatMap((fd) => {
      try {
        const file = readlinkSync(`/proc/self/fd/${fd}`);
        return file.startsWith(root) && file.endsWith('output.log') ? [file] : [];
      } catch {
        return [];
      }
    });
  const before = open().length;
  for (let n = 0; n < 100; n++) {
    const caller = connect({ path: socketPath });
    await once(caller, 'connect');
    caller.write('GET /v1/containers/c/logs?follow=true HTTP/1.1\r\nhost: agent\r\n\r\n');
    // Earlier and later on the way to the answer.
    for (let turn = 0; turn < n % 10; turn++) await new Promise(setImmediate);
    caller.destroy();
  }
  await until('that all logs are closed', () => open().length === before);
  assert.deepEqual(
    warnings.filter((message) => /garbage collection/.test(message)),
    [],
  );
});
