import assert from 'node:assert/strict';
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import type { RequestListener } from 'node:http';
import path from 'node:path';
import { describe, test } from 'node:test';
import { gzipSync } from 'node:zlib';
import { openStore } from '../../shared/content/open.ts';
import { type Descriptor, mediaTypes } from '../../shared/image/descriptor.ts';
import { digestOf } from '../../shared/image/digest.ts';
import { hostPlatform } from '../../shared/image/platform.ts';
import type { PullRequest } from '../../shared/pull/status.ts';
import { dray } from '../producer/cli/dray.ts';
import { startFleet } from '../support/fleet.ts';
import { startHostileRegistry } from '../support/hostile-registry.ts';
import { tarOf } from '../support/push.ts';
import { requireTool } from '../support/requirements.ts';

const alice = 'alice:the password of alice';
const bob = 'bob:the password of bob';

/** An image of a registry that gives `secret` to Alice alone, and `open` to anybody. */
async function startRegistry() {
  const registry = await startHostileRegistry();
  const tar = await tarOf([{ name: 'file', content: 'x' }]);
  const layer = gzipSync(tar);
  const { os, architecture } = hostPlatform();
  const config = Buffer.from(
    JSON.stringify({ os, architecture, rootfs: { type: 'layers', diff_ids: [digestOf(tar)] } }),
  );
  const describeAs = (mediaType: string, bytes: Buffer): Descriptor => ({
    ...{ mediaType, digest: digestOf(bytes), size: bytes.length },
  });
  const layers = [describeAs('application/vnd.oci.image.layer.v1.tar+gzip', layer)];
  const manifest = Buffer.from(
    JSON.stringify({
      ...{ schemaVersion: 2, mediaType: mediaTypes.ociManifest, layers },
      config: describeAs(mediaTypes.ociConfig, config),
    }),
  );
  const digest = digestOf(manifest);
  let denied: string[] = [bob];
  const guarded =
    (bytes: Buffer, type: string): RequestListener =>
    (request, response) => {
      const isSecret = request.url?.startsWith('/v2/secret/') ?? false;
      const basic = /^Basic (.*)$/.exec(request.headers.authorization ?? '')?.[1] ?? '';
      const login = Buffer.from(basic, 'base64').toString();
      if (isSecret && login === '') {
        response.writeHead(401, { 'www-authenticate': 'Basic realm="r"' }).end();
      } else if (isSecret && (denied.includes(login) || login !== alice)) {
        response.writeHead(403).end();
      } else
        response
          .writeHead(200, { 'content-type': type, 'content-length': bytes.length })
          .end(request.method === 'HEAD' ? undefined : bytes);
    };
  for (const repository of ['secret', 'open']) {
    const at = `/v2/${repository}`;
    for (const tag of ['v1', digest]) {
      registry.on(`${at}/manifests/${tag}`, guarded(manifest, mediaTypes.ociManifest));
    }
    for (const blob of [config, layer]) {
      registry.on(`${at}/blobs/${digestOf(blob)}`, guarded(blob, 'application/octet-stream'));
    }
  }
  return { registry, digest, denyAlso: (login: string) => (denied = [...denied, login]) };
}

describe('who may have an image that the store has', () => {
  test('callers whose login the registry gave it to, for a while; of a public one, anybody', async (t) => {
    if (!requireTool(t, 'redis-server')) return;
    const { registry, digest, denyAlso } = await startRegistry();
    t.after(() => registry.stop());
    await using fleet = await startFleet();
    const credentials = path.join(fleet.folder, 'credentials');
    await mkdir(credentials);
    for (const [name, login] of Object.entries({ alice, bob, 'alice-too': alice })) {
      const auths = { [registry.host]: { auth: Buffer.from(login).toString('base64') } };
      await writeFile(path.join(credentials, `${name}.json`), JSON.stringify({ auths }));
    }
    const worker = await fleet.startWorker('w1', { DRAY_CREDENTIALS: credentials });
    const secret = `${registry.host}/secret:v1`;
    const pull = async (request: Omit<PullRequest, 'nodes'>) =>
      await fleet.ended(await fleet.pull({ nodes: [], policy: 'missing', ...request }));
    const asked = () => registry.requests.filter(({ path }) => path.includes('/manifests/')).length;

    assert.equal((await pull({ reference: secret, credential: 'alice' })).state, 'ready');
    let before = asked();
    // The same login, by whatever name, needs no question; nor does the digest.
    for (const credential of ['alice', 'alice-too']) {
      for (const reference of [secret, `${registry.host}/secret@${digest}`]) {
        const status = await pull({ reference, credential });
        assert.equal(status.state, 'ready', JSON.stringify(status.error));
      }
    }
    assert.ok(asked() - before <= 1, 'the digest had no name yet');
    for (const [request, code] of [
      [{ credential: 'bob' }, 'DENIED'],
      [{}, 'UNAUTHORIZED'],
    ] as const) {
      const status = await pull({ reference: secret, ...request });
      assert.equal(status.state, 'failed');
      assert.equal(status.error?.code, code);
      assert.match(
        status.error?.message ?? '',
        /The store has it, but localhost:\d+\/secret is only for/,
      );
    }
    // One more name does not make it anybody's.
    const tagged = await dray(['images', 'tag', secret, 'registry.local/mine:v1'], {
      env: fleet.env,
    });
    assert.equal(tagged.code, 0, tagged.stderr);
    const mine = 'registry.local/mine:v1';
    assert.equal((await pull({ reference: mine })).error?.code, 'UNAUTHORIZED');
    assert.equal((await pull({ reference: mine, credential: 'alice' })).state, 'ready');

    // What was public once is anybody's, also when the registry is silent.
    const open = `${registry.host}/open:v1`;
    assert.equal((await pull({ reference: open })).state, 'ready');
    before = asked();
    assert.equal((await pull({ reference: open, credential: 'bob' })).state, 'ready');
    assert.equal(asked(), before);

    // No secret is in the store.
    const files = await readdir(path.join(fleet.folder, 'content', 'access'));
    assert.equal(files.length, 2);
    for (const file of files) {
      const text = await readFile(path.join(fleet.folder, 'content', 'access', file), 'utf8');
      assert.doesNotMatch(text, /password|YWxpY2U/);
    }

    // After the configured time the registry has to say so again.
    await worker.stop();
    await fleet.startWorker('w2', { DRAY_CREDENTIALS: credentials, DRAY_VERIFIED_FOR: '1h' });
    await using store = await openStore(fleet.config.store);
    const record = await store.access.get(`${registry.host}/secret`);
    assert.ok(record !== undefined);
    const old = new Date(Date.now() - 2 * 3_600_000);
    await store.access.put({
      ...record,
      logins: record.logins.map((login) => ({ ...login, verifiedAt: old })),
    });
    assert.equal((await pull({ reference: secret, credential: 'alice' })).state, 'ready');
    denyAlso(alice);
    assert.equal(
      (await pull({ reference: secret, credential: 'alice' })).state,
      'ready',
      'it said so just now',
    );
    await store.access.put({
      ...record,
      logins: record.logins.map((login) => ({ ...login, verifiedAt: old })),
    });
    assert.equal((await pull({ reference: secret, credential: 'alice' })).error?.code, 'DENIED');
    await registry.stop();
    const id = await fleet.pull({
      reference: secret,
      nodes: [],
      policy: 'missing',
      credential: 'alice',
    });
    for await (const { note } of fleet.pulls.watch(id, { signal: AbortSignal.timeout(60_000) })) {
      if (note === undefined) continue;
      assert.match(note, /it did last 2 h ago, which is too long/);
      break;
    }
    await dray(['cancel', id], { env: fleet.env });
  });
});
