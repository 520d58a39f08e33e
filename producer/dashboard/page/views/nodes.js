import { ask } from '../api.js';
import { h } from '../dom.js';
import { bytes, number, plural, short } from '../format.js';
import { LiveView } from '../live-view.js';
import { age, badge, bar, empty, filter } from '../parts.js';

/**
 * @typedef {import('../../../client/api.ts').Node} Node
 * @typedef {import('../../../client/api.ts').NodeImage} NodeImage
 */

/** The nodes, and what each holds. @extends {LiveView<Node[]>} */
class NodesView extends LiveView {
  /** @override */
  interval = 5_000;
  #wanted = '';
  /** @type {Set<string>} */
  #open = new Set();

  /** @override @param {{ signal: AbortSignal }} options @returns {Promise<Node[]>} */
  async load(options) {
    const { items } = /** @type {{ items: Node[] }} */ (await ask('/v1/nodes', options));
    // Those that are lost need a look.
    return items.toSorted((a, b) => Number(b.state === 'lost') - Number(a.state === 'lost'));
  }

  /** @override @param {Node[]} nodes */
  view(nodes) {
    const lost = nodes.filter(({ state }) => state === 'lost').length;
    const found = nodes.filter(({ name, state, mark = '', platform }) =>
      [name, state, mark, platform].some((text) => text.includes(this.#wanted)),
    );
    return [
      h(
        'div.bar-of-page',
        { key: 'head' },
        h('h1', {}, 'Nodes'),
        nodes.length > 0 &&
          h(
            'span.quiet',
            {},
            `${number(nodes.length - lost)} ready${lost === 0 ? '' : `, ${number(lost)} lost`}`,
          ),
        filter('Filter by name, state or platform', (text) => {
          this.#wanted = text;
          this.draw();
        }),
      ),
      nodes.length === 0
        ? empty(
            'No nodes yet',
            'An agent registers its node when it starts.',
            'dray agent --node node-a',
          )
        : h(
            'ul.card.tree.long',
            { key: 'tree' },
            found.map((node) => this.#item(node)),
          ),
      nodes.length > 0 && found.length === 0 && h('p.waiting', {}, 'No node matches.'),
    ];
  }

  /** @param {Node} node */
  #item(node) {
    const { name, state, mark, disk, images, problems } = node;
    const used = disk.diskSize - disk.diskFree;
    const isFull = disk.diskFree < disk.diskSize * 0.1;
    return h(
      'li',
      { key: name, 'data-node': name, 'data-state': state },
      h(
        'details',
        {
          ontoggle: (/** @type {Event} */ event) => {
            if (/** @type {HTMLDetailsElement} */ (event.target).open) this.#open.add(name);
            else this.#open.delete(name);
            this.draw();
          },
        },
        h(
          'summary',
          {},
          h(
            'span.name',
            {},
            name,
            problems.length > 0 &&
              h(
                'span.alarm',
                { title: problems.join('\n'), 'aria-label': plural(problems.length, 'problem') },
                '!',
              ),
          ),
          badge(state === 'ready' ? (mark ?? state) : state),
          bar({
            value: used,
            max: disk.diskSize,
            label: `${bytes(used)} of ${bytes(disk.diskSize)} of the disk used`,
            tone: isFull ? 'bad' : 'plain',
          }),
          h('span.figures', {}, `${plural(images, 'image')}, ${bytes(disk.bytes)}`),
        ),
        problems.map((problem) => h('p.why.bad', { key: problem }, problem)),
        facts(node),
        this.#open.has(name) && h('dray-node-images', { key: 'images', node: name }),
      ),
    );
  }
}

/** @param {Node} node */
function facts({ platform, version, seenAt, disk, labels, containers, capacity }) {
  const fact = (/** @type {string} */ name, /** @type {import('../dom.js').Several} */ value) =>
    h('div', { key: name }, h('dt', {}, name), h('dd', {}, value));
  const set = Object.entries(labels).map(([name, value]) => `${name}=${value}`);
  return h(
    'dl.facts',
    { key: 'facts' },
    fact('Platform', platform),
    fact('Version', version),
    fact('Heard of', age(seenAt)),
    fact('Machine', `${plural(capacity.cpus, 'CPU')}, ${bytes(capacity.memoryBytes)}`),
    fact('Disk free', `${bytes(disk.diskFree)} of ${bytes(disk.diskSize)}`),
    fact('Layers', number(disk.snapshots)),
    fact('Containers', number(containers)),
    set.length > 0 && fact('Labels', set.join(', ')),
  );
}

/** The images that a node can run at once. @extends {LiveView<NodeImage[]>} */
class NodeImages extends LiveView {
  /** @override */
  interval = 5_000;

  /** @override @param {{ signal: AbortSignal }} options @returns {Promise<NodeImage[]>} */
  async load(options) {
    const node = encodeURIComponent(this.getAttribute('node') ?? '');
    return /** @type {{ items: NodeImage[] }} */ (await ask(`/v1/nodes/${node}/images`, options))
      .items;
  }

  /** @override @param {NodeImage[]} images */
  view(images) {
    if (images.length === 0) return h('p.waiting', {}, 'It holds no image that has a name.');
    return h(
      'ul',
      {},
      images.map(({ name, digest, size }) =>
        h(
          'li.leaf.image',
          { key: name, 'data-image': name },
          h('span.name', {}, name),
          h('code', { title: digest }, short(digest)),
          h('span.figures', {}, size === undefined ? '' : bytes(size)),
        ),
      ),
    );
  }
}

customElements.define('dray-nodes', NodesView);
customElements.define('dray-node-images', NodeImages);
