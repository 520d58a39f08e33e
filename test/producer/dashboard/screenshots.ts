/**
 * `npm run screenshots -- FOLDER`: pictures of every view of the dashboard, light, dark and as wide as a phone, of a
 * fleet that has something to show: pulls under way, some that ended in each way, nodes well and not, failed jobs, no
 * worker; and of what is shown where there is nothing, no right token, or no API.
 */
import { mkdir } from 'node:fs/promises';
import path from 'node:path';
import { DrayageClient } from '../../../producer/client/client.ts';
import { createToken } from '../../../shared/access/tokens.ts';
import { heartbeat } from '../../../shared/node/registry.ts';
import { keysOf } from '../../../shared/queue/names.ts';
import { startFleet } from '../../support/fleet.ts';
import { pushImage, randomLayer } from '../../support/push.ts';
import { startRegistry } from '../../support/registry.ts';
import { startSlowLink } from '../../support/slow-link.ts';
import { startApi } from '../api/support.ts';
import { type Page, startBrowser } from './browser.ts';

const [folder] = process.argv.slice(2);
if (folder === undefined) {
  console.error('usage: npm run screenshots -- FOLDER');
  process.exit(2);
}
await mkdir(folder, { recursive: true });

const looks = {
  light: {},
  dark: { dark: true },
  phone: { width: 390, height: 844 },
  'phone-dark': { width: 390, height: 844, dark: true },
};

const registry = await startRegistry();
try {
  await using link = await startSlowLink(registry.host, { bytesPerSecond: 100_000_000 });
  await using fleet = await startFleet();
  await using api = await startApi(fleet.env);
  await using browser = await startBrowser();
  const client = new DrayageClient({ url: api.url });
  let taken = 0;

  const take = async (
    name: string,
    url: string,
    shows: string,
    { opening, before }: { opening?: string; before?: (page: Page) => Promise<void> } = {},
  ) => {
    for (const [look, options] of Object.entries(looks)) {
      const { page, faults } = await browser.open(url, { ...options, still: true });
      await before?.(page);
      await page.waitForSelector(shows);
      for (const summary of opening === undefined ? [] : await page.locator(opening).all()) {
        await summary.click();
      }
      await page.waitForTimeout(opening === undefined ? 0 : 500);
      await page.evaluate('scrollTo(0, 0)');
      await page.screenshot({ path: path.join(folder, `${name}-${look}.png`), fullPage: true });
      // Who has no right token is asked for one because of this; and one API is stopped.
      const unexpected = faults.filter((fault) => !/\b401\b|ERR_CONNECTION_REFUSED/.test(fault));
      if (unexpected.length > 0) throw new Error(`${name}: ${unexpected.join('; ')}`);
      await page.context().close();
      taken++;
    }
  };

  await take('empty', `${api.url}/`, '[data-shown]');

  const [worker] = await Promise.all([
    fleet.startWorker('w1'),
    ...['node-a', 'node-b'].map((node) => fleet.startAgent(node)),
  ]);
  const image = async (name: string, sizes: number[]) => {
    const tars = sizes.map((size, i) => randomLayer(size, `${i}`));
    await pushImage(registry.host, name, 'v1', await Promise.all(tars), { compression: 'none' });
  };
  await image('team/web', [30_000_000, 4_000_000, 700]);
  await image('team/jobs', [12_000_000, 90_000]);
  await image('team/models', [60_000_000, 45_000_000, 2_000_000]);
  const nodes = ['node-a', 'node-b'];
  for (const name of ['web', 'jobs']) {
    const { id } = await client.pull({ reference: `${link.host}/team/${name}:v1`, nodes });
    await fleet.ended(id);
  }
  for (const name of ['missing', 'gone']) {
    const { id } = await client.pull({ reference: `${registry.host}/team/${name}:v1`, nodes });
    await fleet.ended(id);
  }
  const full = {
    ...{ name: 'node-full', platform: 'linux/arm64', version: '0.1.0', images: 4, containers: 2 },
    labels: { zone: 'b', gpu: 'a100' },
    capacity: { cpus: 64, memoryBytes: 2 ** 38 },
    disk: { snapshots: 40, bytes: 8e11, diskSize: 1e12, diskFree: 3e10 },
    problems: ['The disk is 97 % full: images that no container uses are removed'],
  };
  await heartbeat(fleet.redis, fleet.config.redis.prefix, { ...full });
  const partial = await client.pull({
    reference: `${link.host}/team/web:v1`,
    nodes: ['node-a', 'node-full'],
  });
  await fleet.ended(partial.id);
  link.setRate(300_000);
  const moving = await client.pull({ reference: `${link.host}/team/models:v1`, nodes });
  const lost = {
    ...{ name: 'node-lost', platform: 'linux/amd64', version: '0.1.0', labels: {}, problems: [] },
    ...{ images: 2, containers: 1, capacity: { cpus: 4, memoryBytes: 2 ** 34 } },
    disk: { snapshots: 6, bytes: 1e9, diskSize: 1e11, diskFree: 6e10 },
  };
  await heartbeat(fleet.redis, fleet.config.redis.prefix, { ...lost });
  await fleet.redis.zadd(
    keysOf(fleet.config.redis.prefix).nodesSeen,
    Date.now() - 400_000,
    'node-lost',
  );
  await client.markNode('node-b', 'cordon');
  const [ready] = (await client.listPulls()).items.filter(({ state }) => state === 'ready');
  const [failed] = (await client.listPulls()).items.filter(({ state }) => state === 'failed');

  await take('overview', `${api.url}/`, '[data-shown] [data-pull]');
  await take('pulls', `${api.url}/#/pulls`, '[data-shown] [data-pull]');
  await take('pull-moving', `${api.url}/#/pulls/${moving.id}`, '[data-state=fetching] progress', {
    opening: 'summary',
  });
  await take('pull-partial', `${api.url}/#/pulls/${partial.id}`, '[data-state=partial]', {
    opening: 'summary',
  });
  await take('pull-ready', `${api.url}/#/pulls/${ready?.id}`, '[data-state=ready]', {
    opening: 'summary',
  });
  await take('pull-failed', `${api.url}/#/pulls/${failed?.id}`, '[data-state=failed]');
  await take('nodes', `${api.url}/#/nodes`, '[data-shown] [data-node]');
  await take('node', `${api.url}/#/nodes`, '[data-shown] [data-node]', {
    opening: '[data-node=node-a] summary',
  });
  await take('images', `${api.url}/#/images`, '[data-shown] [data-image]');
  await take('failed', `${api.url}/#/failed`, '[data-job]');
  await worker.stop();
  for (const name of ['api', 'a-service-with-quite-a-long-name/and-a-path/that-goes-on']) {
    await client.pull({
      reference: `registry.example.com/team/${name}:2026-11-29`,
      nodes: ['node-a'],
    });
  }
  await take('overview-stuck', `${api.url}/`, '[data-shown] [data-pull]');
  const tokens = path.join(fleet.folder, 'tokens.json');
  const admin = await createToken(tokens, { name: 'admin', scopes: ['admin'] });
  const expiresAt = new Date(Date.now() - 1_000);
  const expired = await createToken(tokens, { name: 'old', scopes: ['read'], expiresAt });
  await using guarded = await startApi({ ...fleet.env, DRAY_API_TOKENS: tokens });
  await take('sign-in', guarded.url, 'input');
  const signIn = (token: string) => async (page: Page) => {
    await page.getByLabel('Token').fill(token);
    await page.keyboard.press('Enter');
  };
  await take('sign-in-expired', guarded.url, 'text=expired', { before: signIn(expired) });
  await take('board', guarded.url, 'text=fetch-blob', {
    before: async (page) => {
      await signIn(admin)(page);
      await page.getByRole('link', { name: 'Failed', exact: true }).click();
      await page.getByRole('button', { name: 'bull-board' }).click();
      await page.waitForURL('**/board');
    },
  });
  await take('away', `${api.url}/#/nodes`, '[role=alert]', {
    before: async (page) => {
      await page.waitForSelector('[data-node]');
      await page.route('**/v1/**', (route) => route.abort('connectionrefused'));
    },
  });
  console.log(`${taken} pictures in ${folder}`);
} finally {
  await registry.stop();
}
