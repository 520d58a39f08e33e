import assert from 'node:assert/strict';
import crypto from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { syncBuiltinESMExports } from 'node:module';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import { openStore } from '../../../shared/content/open.ts';

test('a login whose digest could not be computed once is no stranger for good', async (t) => {
  let isShort = true;
  const { scrypt } = crypto;
  t.mock.method(crypto, 'scrypt', (...given: Parameters<typeof scrypt>) => {
    const done = given.at(-1) as (error: Error | null, key: Buffer) => void;
    if (isShort) done(new Error('memory is short'), Buffer.alloc(0));
    else Reflect.apply(scrypt, crypto, given);
  });
  syncBuiltinESMExports();
  const { Access } = await import('../../../worker/fleet/access.ts');
  const folder = await mkdtemp(path.join(tmpdir(), 'dray-access-'));
  await using store = await openStore({ kind: 'folder', path: folder });
  t.after(() => rm(folder, { recursive: true, force: true }));
  const login = { username: 'alice', password: 'a password' };
  const access = new Access({
    ...{ store, verifiedForMs: 60_000 },
    client: { head: () => Promise.reject(new Error('nobody is asked')) },
    credentials: () => Promise.resolve(login),
  });
  const repository = { registry: 'registry.test', repository: 'web' };
  const options = { credential: undefined };
  await assert.rejects(access.granted(repository, login, options), /memory is short/);
  isShort = false;
  await access.granted(repository, login, options);
  assert.equal(await access.isKnown(repository, options), true);
});
