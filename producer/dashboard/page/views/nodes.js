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
    const found = nodes.filter(({ name, state, platform }) =>
      [name, state, platform].some((text) => text.includes(this.#wanted)),
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
  #item({ name, state, platform, version, seenAt, disk }) {
    const used = disk === undefined ? 0 : disk.diskSize - disk.diskFree;
    const isFull = disk !== undefined && disk.diskFree < disk.diskSize * 0.1;
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
          h('span.name', {}, name),
          badge(state),
          disk === undefined
            ? h('span.quiet', {}, 'says nothing of its disk')
            : bar({
                value: used,
                max: disk.diskSize,
                label: `${bytes(used)} of ${bytes(disk.diskSize)} of the disk used`,
                tone: isFull ? 'bad' : 'plain',
              }),
          h(
            'span.figures',
            {},
            disk === undefined ? '' : `${bytes(disk.bytes)} in ${plural(disk.snapshots, 'layer')}`,
          ),
        ),
        h(
          'dl.facts',
          {},
          h('div', {}, h('dt', {}, 'Platform'), h('dd', {}, platform)),
          h('div', {}, h('dt', {}, 'Version'), h('dd', {}, version)),
          h('div', {}, h('dt', {}, 'Heard of'), h('dd', {}, age(seenAt))),
          disk !== undefined &&
            h(
              'div',
              {},
              h('dt', {}, 'Disk free'),
              h('dd', {}, `${bytes(disk.diskFree)} of ${bytes(disk.diskSize)}`),
            ),
        ),
        this.#open.has(name) && h('dray-node-images', { key: 'images', node: name }),
      ),
    );
  }
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
