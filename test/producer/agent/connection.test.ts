import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import { AgentClient } from '../../../producer/agent/client.ts';
import { DrayError } from '../../../shared/errors.ts';

test('a refusal without end is not read to its end', async () => {
  const folder = await mkdtemp(path.join(tmpdir(), 'agent-'));
  const socketPath = path.join(folder, 'agent.sock');
  const closed = Promise.withResolvers<void>();
  const server = createServer((_, response) => {
    response.once('close', closed.resolve);
    response.writeHead(500);
    const more = () => {
      if (response.destroyed) return;
      response.write(Buffer.alloc(64 * 1024, 'x'), () => setImmediate(more));
    };
    more();
  });
  server.listen(socketPath);
  await once(server, 'listening');
  try {
    const asked = new AgentClient({ socketPath }).containers.list();
    await assert.rejects(asked, (error: unknown) => {
      assert.ok(error instanceof DrayError);
      assert.equal(error.code, 'AGENT_UNAVAILABLE');
      assert.match(error.message, /its answer is too large/);
      return true;
    });
    await closed.promise;
  } finally {
    server.close();
    await rm(folder, { recursive: true, force: true });
  }
});
