import { ask } from '../api.js';
import { h } from '../dom.js';
import { bytes, number, plural, short } from '../format.js';
import { LiveView } from '../live-view.js';
import { age, badge, bar, filter } from '../parts.js';

/**
 * @typedef {import('../../../client/api.ts').Pull} Pull
 * @typedef {import('../../../client/api.ts').PullBlob} PullBlob
 * @typedef {import('../../../client/api.ts').PullNode} PullNode
 */

const ended = ['ready', 'partial', 'failed', 'cancelled'];
/** What needs a look comes first. */
const nodeOrder = ['failed', 'unpacking', 'waiting', 'stopped', 'ready'];
/** Nodes that are shown before somebody asks for all. */
const firstNodes = 100;

/** One pull: its blobs on their way into the store, and its nodes with their layers. @extends {LiveView<Pull>} */
class PullView extends LiveView {
  /** @override */
  interval = 1_000;
  #wanted = '';
  #all = false;

  get #path() {
    return `/v1/pulls/${encodeURIComponent(this.getAttribute('pull') ?? '')}`;
  }

  /** @override @param {{ signal: AbortSignal }} options @returns {Promise<Pull>} */
  async load(options) {
    /** @type {Pull} */
    const pull = await ask(this.#path, options);
    // What has ended changes no more.
    this.interval = ended.includes(pull.state) ? 30_000 : pull.nodes.length > 200 ? 3_000 : 1_000;
    return pull;
  }

  /** @override @param {Pull} pull */
  view(pull) {
    return [
      h('p.back', { key: 'back' }, h('a', { href: '#/pulls' }, '← All pulls')),
      this.#head(pull),
      pull.error !== undefined && problem(pull.error),
      pull.note !== undefined && h('p.note.card', { key: 'note' }, pull.note),
      facts(pull),
      h(
        'div.columns',
        { key: 'columns' },
        h(
          'section',
          { 'aria-labelledby': 'blobs' },
          h('h2', { id: 'blobs' }, 'Into the store', h('span', {}, storeLine(pull))),
          blobs(pull),
        ),
        h(
          'section',
          { 'aria-labelledby': 'nodes' },
          h('h2', { id: 'nodes' }, 'Onto nodes', h('span', {}, nodesLine(pull))),
          this.#nodes(pull),
        ),
      ),
    ];
  }

  /** @param {Pull} pull */
  #head({ id, reference, state }) {
    return h(
      'div.bar-of-page',
      { key: 'head', 'data-pull': id, 'data-state': state },
      h('h1.reference', {}, reference),
      badge(state),
      h('span.grow'),
      !ended.includes(state) &&
        h(
          'button.danger',
          { key: 'cancel', onclick: () => this.act(() => this.#cancel()) },
          'Cancel',
        ),
      ended.includes(state) &&
        state !== 'ready' &&
        h('button', { key: 'again', onclick: () => this.act(() => this.#again()) }, 'Pull again'),
    );
  }

  async #cancel() {
    await ask(`${this.#path}/cancel`, { method: 'POST' });
    return 'The pull is cancelled.';
  }

  async #again() {
    const { id } = /** @type {Pull} */ (await ask(`${this.#path}/retry`, { method: 'POST' }));
    location.hash = `#/pulls/${id}`;
    return 'It is pulled anew: this is the new pull.';
  }

  /** @param {Pull} pull */
  #nodes({ nodes }) {
    if (nodes.length === 0)
      return h('p.waiting.card', {}, 'For the content store only: no node was asked for.');
    const found = nodes
      .filter(({ name, state }) => name.includes(this.#wanted) || state.includes(this.#wanted))
      .toSorted((a, b) => nodeOrder.indexOf(a.state) - nodeOrder.indexOf(b.state));
    const shown = this.#all ? found : found.slice(0, firstNodes);
    return [
      nodes.length > 8 &&
        filter('Filter by node or state', (text) => {
          this.#wanted = text;
          this.draw();
        }),
      h('ul.card.tree', { key: 'tree' }, shown.map(nodeItem)),
      shown.length < found.length &&
        h(
          'button',
          {
            key: 'all',
            onclick: () => {
              this.#all = true;
              this.draw();
            },
          },
          `Show all ${number(found.length)}`,
        ),
    ];
  }
}

/** @param {NonNullable<Pull['error']>} error */
function problem({ code, message, hint }) {
  return h(
    'div.trouble',
    { key: 'problem' },
    h('strong', {}, message),
    hint !== undefined && h('p', {}, hint),
    h('code', {}, code),
  );
}

/** @param {Pull} pull */
function facts({
  id,
  platform,
  priority,
  target,
  createdAt,
  finishedAt,
  askedAt,
  desired,
  paused,
}) {
  /** @type {[string, import('../dom.js').Several][]} */
  const rows = [
    ['Pull', h('code', {}, id)],
    ['Platform', platform],
    ['Priority', priority],
    ['Created', age(createdAt)],
    ['Ended', finishedAt === undefined ? 'not yet' : age(finishedAt)],
  ];
  if (askedAt !== undefined) rows.push(['Registry asked', age(askedAt)]);
  if (desired !== undefined) rows.push(['Desired set', desired]);
  if (paused) rows.push(['Paused', 'no further node begins']);
  const none = finishedAt === undefined ? 'not resolved yet' : 'not resolved';
  rows.push(['Digest', target === undefined ? none : h('code.whole', {}, target.digest)]);
  return h(
    'dl.facts.card',
    { key: 'facts' },
    rows.map(([name, value]) => h('div', { key: name }, h('dt', {}, name), h('dd', {}, value))),
  );
}

/** @param {Pull} pull */
function storeLine({ blobs: all }) {
  if (all.length === 0) return '';
  const done = all.reduce((sum, blob) => sum + blob.bytes, 0);
  const size = all.reduce((sum, { descriptor }) => sum + descriptor.size, 0);
  return done === size ? bytes(size) : `${bytes(done)} of ${bytes(size)}`;
}

/** @param {Pull} pull */
function nodesLine({ counts, nodes }) {
  if (nodes.length === 0) return '';
  const failed = counts.failed === 0 ? '' : `, ${number(counts.failed)} failed`;
  return `${number(counts.ready)} of ${plural(nodes.length, 'node')} ready${failed}`;
}

/** @param {Pull} pull */
function blobs({ blobs: all, state }) {
  if (all.length === 0) {
    const why = ended.includes(state)
      ? 'It ended before it was known what it needs.'
      : 'What it needs is known once the reference is resolved.';
    return h('p.waiting.card', {}, why);
  }
  return h(
    'ul.card.tree',
    {},
    all.map(({ descriptor: { digest, size }, kind, state: now, bytes: done, existed }) =>
      h(
        'li.leaf',
        { key: digest, 'data-digest': digest, 'data-state': now, class: kind },
        h('span.kind', {}, kind),
        h('code', { title: digest }, short(digest)),
        badge(now),
        bar({
          value: done,
          max: size,
          label: `${bytes(done)} of ${bytes(size)}`,
          tone: now === 'stored' ? 'good' : now === 'failed' ? 'bad' : '',
        }),
        h(
          'span.figures',
          {},
          now === 'stored'
            ? `${bytes(size)}${existed ? ', was there' : ''}`
            : `${bytes(done)} of ${bytes(size)}`,
        ),
      ),
    ),
  );
}

/** @param {PullNode} node */
function nodeItem({ name, platform, state, layers, error }) {
  const done = layers.filter((layer) => layer.state === 'done').length;
  const unpacked = layers.reduce((sum, layer) => sum + layer.bytes, 0);
  const isOver = ['ready', 'failed', 'stopped'].includes(state);
  return h(
    'li',
    { key: name, 'data-node': name, 'data-state': state },
    h(
      'details',
      {},
      h(
        'summary',
        {},
        h('span.name', {}, name),
        badge(state),
        bar({
          value: state === 'ready' ? 1 : done,
          max: state === 'ready' ? 1 : Math.max(1, layers.length),
          label: `${done} of ${plural(layers.length, 'layer')}`,
          tone: state === 'ready' ? 'good' : state === 'failed' ? 'bad' : '',
        }),
        h(
          'span.figures',
          {},
          layers.length === 0
            ? isOver
              ? ''
              : 'waits'
            : `${done} of ${plural(layers.length, 'layer')}`,
        ),
      ),
      platform !== undefined && h('p.waiting', { key: 'platform' }, platform),
      layers.length === 0
        ? !isOver && h('p.waiting', {}, 'It has said nothing of its layers yet.')
        : h(
            'ul',
            {},
            layers.map((layer) =>
              h(
                'li.leaf',
                { key: layer.digest, 'data-digest': layer.digest, 'data-state': layer.state },
                h('code', { title: layer.digest }, short(layer.digest)),
                badge(layer.state),
                bar({
                  ...(layer.state === 'unpacking' ? {} : { value: layer.state === 'done' ? 1 : 0 }),
                  label: `${layer.state}, ${bytes(layer.bytes)} unpacked`,
                  tone: layer.state === 'done' ? 'good' : layer.state === 'failed' ? 'bad' : '',
                }),
                h(
                  'span.figures',
                  {},
                  layer.existed
                    ? 'was there'
                    : layer.bytes === 0 && layer.state === 'waiting'
                      ? ''
                      : bytes(layer.bytes),
                ),
              ),
            ),
          ),
      layers.length > 0 &&
        unpacked > 0 &&
        h('p.figures.sum', {}, `${bytes(unpacked)} unpacked for this pull`),
    ),
    error !== undefined &&
      h('p.why.bad', {}, error.message, error.hint !== undefined && h('span.hint', {}, error.hint)),
  );
}

customElements.define('dray-pull', PullView);
