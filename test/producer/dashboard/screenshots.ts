/**
 * `npm run screenshots -- FOLDER`: pictures of every view of the dashboard, light, dark and as wide as a phone, of a
 * fleet that has something to show: a pull under way, some that ended in each way, nodes well and not, failed jobs.
 */
import { mkdir } from 'node:fs/promises';
import path from 'node:path';
import { DrayageClient } from '../../../producer/client/client.ts';
import { createToken } from '../../../shared/access/tokens.ts';
import { heartbeat } from '../../../shared/node/registry.ts';
import { startFleet } from '../../support/fleet.ts';
import { pushImage, randomLayer } from '../../support/push.ts';
import { startRegistry } from '../../support/registry.ts';
import { startSlowLink } from '../../support/slow-link.ts';
import { startApi } from '../api/support.ts';
import { startBrowser } from './browser.ts';

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

  const take = async (name: string, url: string, shows: string, opening?: string) => {
    for (const [look, options] of Object.entries(looks)) {
      const { page, faults } = await browser.open(url, { ...options, still: true });
      await page.waitForSelector(shows);
      for (const summary of opening === undefined ? [] : await page.locator(opening).all()) {
        await summary.click();
      }
      await page.waitForTimeout(opening === undefined ? 0 : 500);
      await page.evaluate('scrollTo(0, 0)');
      await page.screenshot({ path: path.join(folder, `${name}-${look}.png`), fullPage: true });
      // Who has no token is asked for one because of this.
      const unexpected = faults.filter((fault) => !/\b401\b/.test(fault));
      if (unexpected.length > 0) throw new Error(`${name}: ${unexpected.join('; ')}`);
      await page.context().close();
      taken++;
    }
  };

  await take('empty', `${api.url}/`, '[data-shown]');

  await Promise.all([
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
  link.setRate(300_000);
  const moving = await client.pull({ reference: `${link.host}/team/models:v1`, nodes });
  const idle = { images: 4, containers: 2, labels: { zone: 'b', gpu: 'a100' } };
  await heartbeat(fleet.redis, fleet.config.redis.prefix, {
    ...{ name: 'node-full', platform: 'linux/arm64', version: '0.1.0', ...idle },
    capacity: { cpus: 64, memoryBytes: 2 ** 38 },
    disk: { snapshots: 40, bytes: 8e11, diskSize: 1e12, diskFree: 3e10 },
    problems: ['The disk is 97 % full: images that no container uses are removed'],
  });
  await client.markNode('node-b', 'cordon');
  const [ready] = (await client.listPulls()).items.filter(({ state }) => state === 'ready');
  const [failed] = (await client.listPulls()).items.filter(({ state }) => state === 'failed');

  await take('overview', `${api.url}/`, '[data-shown] [data-pull]');
  await take('pulls', `${api.url}/#/pulls`, '[data-shown] [data-pull]');
  await take('pull-moving', `${api.url}/#/pulls/${moving.id}`, '[data-state=fetching] progress');
  await take('pull-ready', `${api.url}/#/pulls/${ready?.id}`, '[data-state=ready]', 'summary');
  await take('pull-failed', `${api.url}/#/pulls/${failed?.id}`, '[data-state=failed]');
  await take('nodes', `${api.url}/#/nodes`, '[data-shown] [data-node]');
  const summary = '[data-node=node-a] summary';
  await take('node', `${api.url}/#/nodes`, '[data-shown] [data-node]', summary);
  await take('images', `${api.url}/#/images`, '[data-shown] [data-image]');
  await take('failed', `${api.url}/#/failed`, '[data-job]');
  const tokens = path.join(fleet.folder, 'tokens.json');
  await createToken(tokens, { name: 'admin', scopes: ['admin'] });
  await using guarded = await startApi({ ...fleet.env, DRAY_API_TOKENS: tokens });
  await take('sign-in', guarded.url, 'input');
  console.log(`${taken} pictures in ${folder}`);
} finally {
  await registry.stop();
}
