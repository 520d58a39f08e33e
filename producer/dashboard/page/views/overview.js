import { ask } from '../api.js';
import { h } from '../dom.js';
import { bytes, duration, number, plural } from '../format.js';
import { LiveView } from '../live-view.js';
import { empty, sparkline } from '../parts.js';
import { pullRow } from './pull-row.js';

/**
 * @typedef {import('../../../client/api.ts').Queue} Queue
 * @typedef {import('../../../client/api.ts').Node} Node
 * @typedef {import('../../../client/api.ts').PullSummary} PullSummary
 * @typedef {{ queues: Queue[], nodes: Node[], open: PullSummary[], recent: PullSummary[] }} Data
 * @typedef {{ name: string, waiting: number, active: number, delayed: number, failed: number, oldest: number | undefined, workers: number, completed: number[], failures: number[] }} Row
 */

/** The fleet at a glance. @extends {LiveView<Data>} */
class Overview extends LiveView {
  /** @override @param {{ signal: AbortSignal }} options @returns {Promise<Data>} */
  async load(options) {
    const items = async (/** @type {string} */ path) =>
      /** @type {{ items: any[] }} */ (await ask(path, options)).items;
    const [queues, nodes, open, recent] = await Promise.all([
      items('/v1/queues'),
      items('/v1/nodes'),
      items('/v1/pulls?state=open&limit=20'),
      items('/v1/pulls?limit=12'),
    ]);
    return { queues, nodes, open, recent };
  }

  /** @override @param {Data} data */
  view({ queues, nodes, open, recent }) {
    const rows = rowsOf(queues);
    const ended = recent.filter(({ finishedAt }) => finishedAt !== undefined).slice(0, 8);
    return [
      h('h1.unseen', { key: 'title' }, 'Overview'),
      tiles(rows, nodes, open),
      noWorkers(rows),
      h(
        'section',
        { key: 'live', 'aria-labelledby': 'live' },
        h('h2', { id: 'live' }, 'Live pulls'),
        open.length === 0
          ? empty(
              'All quiet',
              'Nothing is being pulled.',
              'dray pull --node NODE docker.io/library/redis:latest',
            )
          : h('ul.card.rows', {}, open.map(pullRow)),
      ),
      h(
        'section',
        { key: 'queues', 'aria-labelledby': 'queues' },
        h('h2', { id: 'queues' }, 'Queues'),
        table(rows),
      ),
      ended.length > 0 &&
        h(
          'section',
          { key: 'recent', 'aria-labelledby': 'recent' },
          h('h2', { id: 'recent' }, 'Ended lately', h('a', { href: '#/pulls' }, 'All pulls')),
          h('ul.card.rows', {}, ended.map(pullRow)),
        ),
    ];
  }
}

/** @param {Row[]} rows @param {Node[]} nodes @param {PullSummary[]} open */
function tiles(rows, nodes, open) {
  const sum = (/** @type {(row: Row) => number} */ of) =>
    rows.reduce((total, row) => total + of(row), 0);
  const oldest = Math.max(0, ...rows.map(({ oldest: age }) => age ?? 0));
  const failed = sum((row) => row.failed);
  const lost = nodes.filter(({ state }) => state === 'lost').length;
  const moving = open.reduce((total, { blobs }) => total + blobs.size - blobs.bytes, 0);
  const hour = rows.length === 0 ? [] : addUp(rows.map(({ completed }) => completed));
  return h(
    'dl.tiles',
    { key: 'tiles' },
    tile(
      'open',
      'Open pulls',
      number(open.length),
      moving > 0 ? `${bytes(moving)} to come` : 'nothing to come',
    ),
    tile(
      'waiting',
      'Waiting jobs',
      number(sum((row) => row.waiting + row.delayed)),
      oldest > 0 ? `oldest ${duration(oldest)}` : 'none waits',
      oldest > 60 ? 'warn' : '',
    ),
    tile(
      'rate',
      'Jobs in the last hour',
      number(hour.reduce((all, each) => all + each, 0)),
      sparkline(hour, 'Jobs done in each of the last 60 minutes'),
    ),
    tile(
      'failed',
      'Failed jobs',
      number(failed),
      failed > 0 ? h('a', { href: '#/failed' }, 'Look at them') : 'none',
      failed > 0 ? 'bad' : '',
    ),
    tile(
      'nodes',
      'Nodes ready',
      `${number(nodes.length - lost)}${nodes.length === 0 ? '' : ` of ${number(nodes.length)}`}`,
      lost > 0
        ? h('a', { href: '#/nodes' }, `${number(lost)} lost`)
        : nodes.length === 0
          ? 'no agent yet'
          : 'all heard of',
      lost > 0 ? 'bad' : '',
    ),
  );
}

/** Without workers nothing goes on, whatever the figures are. @param {Row[]} rows */
function noWorkers(rows) {
  const idle = rows.filter(({ name, workers }) => workers === 0 && !name.startsWith('unpack'));
  if (idle.length === 0) return undefined;
  return h(
    'div.trouble.warn',
    { key: 'workers' },
    h('strong', {}, `No worker takes jobs of ${idle.map(({ name }) => name).join(', ')}`),
    h(
      'p',
      {},
      'What is pulled waits until one does. Start one with ',
      h('code', {}, 'dray worker'),
      '.',
    ),
  );
}

/** @param {string} id @param {string} name @param {string} value @param {import('../dom.js').Several} note @param {string} [tone] */
function tile(id, name, value, note, tone = '') {
  return h(
    'div.tile',
    { key: id, class: tone, 'data-tile': id },
    h('dt', {}, name),
    h('dd', {}, h('b', {}, value), h('span', {}, note)),
  );
}

/** The queues of a thousand nodes are one row. @param {Queue[]} queues @returns {Row[]} */
function rowsOf(queues) {
  const own = queues.filter(({ name }) => !name.startsWith('unpack@'));
  const units = queues.filter(({ name }) => name.startsWith('unpack@'));
  return [
    ...own.map((queue) => rowOf(queue.name, [queue])),
    ...(units.length === 0 ? [] : [rowOf(`unpack, ${plural(units.length, 'node')}`, units)]),
  ];
}

/** @param {string} name @param {Queue[]} queues @returns {Row} */
function rowOf(name, queues) {
  const sum = (/** @type {string[]} */ ...states) =>
    queues.reduce(
      (total, { jobs }) => total + states.reduce((all, state) => all + (jobs[state] ?? 0), 0),
      0,
    );
  const ages = queues.flatMap(({ oldestWaitingSeconds: age }) => (age === undefined ? [] : [age]));
  return {
    name,
    waiting: sum('waiting', 'prioritized'),
    active: sum('active'),
    delayed: sum('delayed'),
    failed: sum('failed'),
    oldest: ages.length === 0 ? undefined : Math.max(...ages),
    workers: queues.reduce((total, { workers }) => total + workers, 0),
    completed: addUp(queues.map(({ rate }) => rate.completed)),
    failures: addUp(queues.map(({ rate }) => rate.failed)),
  };
}

/** @param {number[][]} several @returns {number[]} */
function addUp(several) {
  const [first = []] = several;
  return first.map((_, i) => several.reduce((total, each) => total + (each[i] ?? 0), 0));
}

const heads = [
  'Queue',
  'Waiting',
  'Running',
  'Delayed',
  'Failed',
  'Oldest',
  'Workers',
  'Last hour',
];

/** @param {Row[]} rows */
function table(rows) {
  return h(
    'div.card.scroll',
    { tabindex: 0, role: 'region', 'aria-labelledby': 'queues' },
    h(
      'table.labelled',
      {},
      h(
        'thead',
        {},
        h(
          'tr',
          {},
          heads.map((head, i) =>
            h('th', { scope: 'col', class: i > 0 && i < 7 ? 'figure' : undefined }, head),
          ),
        ),
      ),
      h('tbody', {}, rows.map(tableRow)),
    ),
  );
}

/** @param {Row} row */
function tableRow({
  name,
  waiting,
  active,
  delayed,
  failed,
  oldest,
  workers,
  completed,
  failures,
}) {
  const ended = `${number(addAll(completed))} done, ${number(addAll(failures))} failed within an hour`;
  const isOld = (oldest ?? 0) > 60;
  return h(
    'tr',
    { key: name, 'data-queue': name },
    h('th', { scope: 'row' }, name),
    figure('Waiting', number(waiting), waiting === 0 ? 'zero' : ''),
    figure('Running', number(active), active === 0 ? 'zero' : ''),
    figure('Delayed', number(delayed), delayed === 0 ? 'zero' : ''),
    figure('Failed', number(failed), failed === 0 ? 'zero' : 'bad'),
    figure('Oldest', oldest === undefined ? '–' : duration(oldest), isOld ? 'warn' : ''),
    figure('Workers', number(workers), workers === 0 ? 'bad' : ''),
    h('td', { 'data-head': 'Last hour' }, sparkline(completed, ended)),
  );
}

/** @param {string} head @param {string} text @param {string} tone */
function figure(head, text, tone) {
  return h('td.figure', { class: tone, 'data-head': head }, text);
}

/** @param {number[]} counts */
function addAll(counts) {
  return counts.reduce((total, count) => total + count, 0);
}

customElements.define('dray-overview', Overview);
