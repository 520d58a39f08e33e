import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { DrayageClient } from '../../../producer/client/client.ts';
import { createToken } from '../../../shared/access/tokens.ts';
import { heartbeat } from '../../../shared/node/registry.ts';
import { startFleet, type TestFleet } from '../../support/fleet.ts';
import { pushImage, tarOf } from '../../support/push.ts';
import { startRegistry, type TestRegistry } from '../../support/registry.ts';
import { type SlowLink, startSlowLink } from '../../support/slow-link.ts';
import { startApi, type TestApi } from '../api/support.ts';
import { type Page, startBrowser, type TestBrowser } from './browser.ts';

describe('the dashboard, in Chromium', () => {
  let registry: TestRegistry;
  let link: SlowLink;
  let fleet: TestFleet;
  let api: TestApi;
  let client: DrayageClient;
  let browser: TestBrowser;
  let ready: string;

  before(async () => {
    registry = await startRegistry();
    link = await startSlowLink(registry.host, { bytesPerSecond: 100_000_000 });
    fleet = await startFleet();
    api = await startApi(fleet.env);
    client = new DrayageClient({ url: api.url });
    browser = await startBrowser();
  });
  after(async () => {
    await browser[Symbol.asyncDispose]();
    await api[Symbol.asyncDispose]();
    await fleet[Symbol.asyncDispose]();
    await link[Symbol.asyncDispose]();
    await registry.stop();
  });

  async function open(hash: string, options: Parameters<TestBrowser['open']>[1] = {}) {
    const { page, faults } = await browser.open(`${api.url}/${hash}`, options);
    await page.waitForSelector('[data-shown]');
    return { page, faults };
  }

  test('a fleet without anything says so', async () => {
    const { page, faults } = await open('');
    assert.match(await page.innerText('main'), /All quiet/);
    assert.match(await page.innerText('main'), /No worker takes jobs of resolve, fetch-blob/);
    await page.getByRole('link', { name: 'Nodes' }).click();
    await page.getByText('No nodes yet').waitFor();
    await page.getByRole('link', { name: 'Images' }).click();
    await page.getByText('No images yet').waitFor();
    assert.deepEqual(faults, []);
    await page.context().close();
  });

  test('an address that is no right one leads to the overview', async () => {
    const { page, faults } = await open('#/%E0%A4');
    assert.match(await page.innerText('main'), /All quiet/);
    assert.deepEqual(faults, []);
    await page.context().close();
  });

  test('a pull is shown as it goes on, with its blobs, nodes and layers, and is what the API says of it', async () => {
    await Promise.all([fleet.startWorker('w1'), fleet.startAgent('node-a')]);
    const layers = [randomBytes(300_000), randomBytes(2_000_000)];
    const tars = layers.map((content, i) => tarOf([{ name: `file-${i}`, content }]));
    await pushImage(registry.host, 'shown', 'v1', await Promise.all(tars), { compression: 'none' });
    link.setRate(400_000);
    const reference = `${link.host}/shown:v1`;
    const { id } = await client.pull({ reference, nodes: ['node-a'] });
    const { page, faults } = await open('');
    const row = page.locator(`[aria-labelledby=live] [data-pull="${id}"]`);
    await row.waitFor();
    assert.match(await row.innerText(), new RegExp(`${reference}[\\s\\S]*0 of 1 node ready`));
    await row.getByRole('link').click();
    await page.waitForSelector('dray-pull [data-state=fetching] progress');
    await page.locator('summary').click();
    await page.waitForSelector('[data-node=node-a] li[data-digest]');
    link.setRate(100_000_000);
    await page.waitForSelector(`dray-pull [data-pull="${id}"][data-state=ready]`);
    const pull = await client.getPull(id);
    const leaves = (selector: string) =>
      page
        .locator(`${selector} .leaf`)
        .evaluateAll((all) =>
          all.map((leaf) => [leaf.getAttribute('data-digest'), leaf.getAttribute('data-state')]),
        );
    assert.deepEqual(
      await leaves('[aria-labelledby=blobs]'),
      pull.blobs.map(({ descriptor, state }) => [descriptor.digest, state]),
    );
    assert.deepEqual(
      await leaves('[data-node=node-a]'),
      pull.nodes[0]?.layers.map(({ digest, state }) => [digest, state]),
    );
    assert.equal(
      await page.locator('details:not([open])').count(),
      0,
      'what was folded out stays so',
    );
    assert.deepEqual(faults, []);
    ready = id;
    await page.context().close();
  });

  test('queues, nodes and images are those of the API', async () => {
    const { page, faults } = await open('');
    const queues = await client.listQueues();
    for (const { name, workers } of queues.filter((queue) => !queue.name.includes('@'))) {
      const row = page.locator(`[data-queue="${name}"]`);
      assert.equal(await row.locator('[data-head=Workers]').innerText(), String(workers));
    }
    assert.match(await page.innerText('[data-queue^="unpack"]'), /unpack, 1 node/);
    assert.match(await page.innerText('[data-tile=nodes]'), /1 of 1/);
    await page.goto(`${api.url}/#/images`);
    await page.waitForSelector('[data-image]');
    for await (const { name, size } of client.listImages()) {
      const cell = page.locator(`[data-image="${name}"] [data-size]`);
      assert.equal(await cell.getAttribute('data-size'), String(size));
    }
    await page.goto(`${api.url}/#/nodes`);
    await page.locator('[data-node=node-a] summary').click();
    const { reference } = await client.getPull(ready);
    await page.waitForSelector(`dray-node-images [data-image="${reference}"]`);
    assert.deepEqual(faults, []);
    await page.context().close();
  });

  test('a failed job is shown with its reason, retried and removed, by the keyboard alone', async () => {
    for (const tag of ['v1', 'v2']) {
      const { id } = await client.pull({ reference: `${registry.host}/none:${tag}` });
      assert.equal((await fleet.ended(id)).state, 'failed');
    }
    const { page, faults } = await open('#/failed');
    await page.waitForSelector('[data-job] + [data-job]');
    const [newest] = await Array.fromAsync(client.listFailedJobs('resolve'));
    assert.ok(newest !== undefined);
    assert.match(await page.innerText(`[data-job="${newest.id}"]`), /MANIFEST_UNKNOWN/);
    const press = async (name: string) => {
      for (let tabs = 0; tabs < 40; tabs++) {
        await page.keyboard.press('Tab');
        const [focused] = await page
          .locator(':focus')
          .evaluateAll((all) => all.map((element) => element.getAttribute('aria-label')));
        if (focused === name) return await page.keyboard.press('Enter');
      }
      assert.fail(`Tab does not lead to "${name}"`);
    };
    await press(`Remove job ${newest.id}`);
    // It is said for some seconds from then on; text that is just being faded in is none yet.
    await page.getByRole('status').filter({ hasText: 'removed' }).waitFor();
    await page.waitForSelector(`[data-job="${newest.id}"]`, { state: 'detached' });
    await page.locator('[data-job] button:focus').waitFor();
    const [other] = await Array.fromAsync(client.listFailedJobs('resolve'));
    assert.ok(other !== undefined);
    await press(`Retry job ${other.id}`);
    await page.getByRole('status').filter({ hasText: 'Pulled anew' }).waitFor();
    await page.waitForSelector(`[data-job="${other.id}"]`, { state: 'detached' });
    const [pulled] = (await client.listPulls({ limit: 1 })).items;
    assert.equal(pulled?.reference, `${registry.host}/none:v1`);
    await fleet.ended(pulled.id);
    assert.deepEqual(faults, []);
    await page.context().close();
  });

  test('what an image is called is text, whatever it is', async () => {
    const name = 'localhost:5000/<img src=x onerror=alert(1)>:v1';
    await fleet.redis.hset(`${fleet.config.redis.prefix}:dray:pull:${ready}`, 'reference', name);
    const { page, faults } = await open(`#/pulls/${ready}`);
    assert.equal(await page.innerText('h1'), name);
    assert.equal(await page.locator('main img').count(), 0);
    assert.deepEqual(faults, []);
    await page.context().close();
  });

  test('a thousand nodes are shown, filtered and folded out without a wait', async () => {
    const node = {
      ...{ platform: 'linux/amd64', version: '0.1.0', labels: { zone: 'a' }, problems: [] },
      capacity: { cpus: 4, memoryBytes: 8e9 },
      disk: { snapshots: 7, bytes: 1e9, diskSize: 1e11, diskFree: 5e10 },
      ...{ images: 3, containers: 0 },
    };
    const names = Array.from({ length: 1_000 }, (_, i) => `node-${String(i).padStart(4, '0')}`);
    await Promise.all(
      names.map((name) => heartbeat(fleet.redis, fleet.config.redis.prefix, { name, ...node })),
    );
    const { page, faults } = await open('#/nodes');
    assert.equal(await page.locator('li[data-node]').count(), 1_001);
    const began = performance.now();
    await page.getByRole('searchbox').fill('node-0042');
    assert.equal(await page.locator('li[data-node]').count(), 1);
    const ms = performance.now() - began;
    assert.ok(ms < 10_000, `filtering took ${ms} ms`);
    await page.goto(`${api.url}/#/`);
    await page.waitForSelector('[data-queue="unpack, 1,001 nodes"]');
    assert.deepEqual(faults, []);
    await page.context().close();
  });

  test('on a phone, light or dark, nothing is wider than the screen', async () => {
    for (const hash of ['', '#/pulls', `#/pulls/${ready}`, '#/nodes', '#/images', '#/failed']) {
      const { page, faults } = await open(hash, { width: 360, height: 740, dark: hash === '' });
      const wide = await page.locator('html').evaluate((root) => root.scrollWidth);
      assert.ok(wide <= 360, `${hash} is ${wide} wide`);
      assert.deepEqual(faults, []);
      await page.context().close();
    }
  });

  test('with tokens, it asks for one, keeps it for the tab, and opens bull-board for an admin', async () => {
    const tokens = path.join(fleet.folder, 'tokens.json');
    const admin = await createToken(tokens, { name: 'admin', scopes: ['admin'] });
    await using guarded = await startApi({ ...fleet.env, DRAY_API_TOKENS: tokens });
    const { page } = await browser.open(guarded.url);
    await page.getByLabel('Token').fill('dray_unknown');
    await page.keyboard.press('Enter');
    await page.getByText('The token is not known here').waitFor();
    const expiresAt = new Date(Date.now() - 1_000);
    const old = await createToken(tokens, { name: 'old', scopes: ['read'], expiresAt });
    // The field has the focus again.
    await page.keyboard.type(old);
    await page.keyboard.press('Enter');
    await page.getByText('The token old expired at').waitFor();
    await page.getByLabel('Token').fill(admin);
    await page.keyboard.press('Enter');
    await page.waitForSelector('dray-overview[data-shown]');
    await page.locator('main:focus').waitFor();
    await page.reload();
    await page.waitForSelector('dray-overview[data-shown]');
    await page.getByRole('link', { name: 'Failed', exact: true }).click();
    await page.getByRole('button', { name: 'bull-board' }).click();
    await page.waitForURL('**/board');
    await page.getByText('fetch-blob').first().waitFor();
    await signsOut(page, guarded.url);
  });

  test('while the API is away, what it said stays, with a word about it', async () => {
    await using other = await startApi(fleet.env);
    const { page } = await browser.open(`${other.url}/#/images`);
    await page.waitForSelector('[data-image]');
    await other[Symbol.asyncDispose]();
    await page.getByRole('alert').waitFor();
    assert.match(
      await page.getByRole('alert').innerText(),
      /can’t be reached[\s\S]*Shown is what it said/,
    );
    assert.ok((await page.locator('[data-image]').count()) > 0);
    await page.context().close();
  });
});

async function signsOut(page: Page, url: string): Promise<void> {
  await page.goto(url);
  await page.getByRole('button', { name: 'Sign out' }).click();
  await page.getByLabel('Token').waitFor();
  assert.equal(await page.evaluate('sessionStorage.length'), 0);
  await page.context().close();
}
