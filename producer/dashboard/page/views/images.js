import { ask } from '../api.js';
import { h } from '../dom.js';
import { bytes, plural, short } from '../format.js';
import { LiveView } from '../live-view.js';
import { age, empty, filter } from '../parts.js';

/**
 * @typedef {import('../../../client/api.ts').Image} Image
 * @typedef {import('../../../client/api.ts').ImageList} ImageList
 */

const kinds = /** @type {[RegExp, string][]} */ ([
  [/index|manifest\.list/, 'index'],
  [/manifest/, 'manifest'],
]);

/** The names of images, with their sizes. @extends {LiveView<ImageList>} */
class ImagesView extends LiveView {
  /** @override */
  interval = 5_000;
  #limit = 200;
  #wanted = '';

  /** @override @param {{ signal: AbortSignal }} options @returns {Promise<ImageList>} */
  load(options) {
    return ask(`/v1/images?limit=${this.#limit}`, options);
  }

  /** @override @param {ImageList} data */
  view({ items, next }) {
    const found = items.filter(
      ({ name, target }) => name.includes(this.#wanted) || target.digest.includes(this.#wanted),
    );
    return [
      h(
        'div.bar-of-page',
        { key: 'head' },
        h('h1', {}, 'Images'),
        items.length > 0 &&
          h(
            'span.quiet',
            {},
            next === undefined ? plural(items.length, 'name') : `the first ${items.length}`,
          ),
        filter('Filter by name or digest', (text) => {
          this.#wanted = text;
          this.draw();
        }),
      ),
      items.length === 0
        ? empty(
            'No images yet',
            'What is pulled whole has its name here.',
            'dray pull docker.io/library/redis:latest',
          )
        : table(found),
      next !== undefined &&
        this.#limit < 1000 &&
        h('button', { key: 'more', onclick: () => this.#more() }, 'Show more'),
    ];
  }

  async #more() {
    this.#limit = 1000;
    await this.refresh();
  }
}

/** @param {Image[]} images */
function table(images) {
  return h(
    'div.card.scroll',
    { key: 'table', tabindex: 0, role: 'region', 'aria-label': 'Images' },
    h(
      'table.stacked',
      {},
      h(
        'thead',
        {},
        h(
          'tr',
          {},
          ['Name', 'Digest', 'Type', 'Size', 'Updated'].map((head) =>
            h('th', { scope: 'col', class: head === 'Size' ? 'figure' : undefined }, head),
          ),
        ),
      ),
      h(
        'tbody',
        {},
        images.map(({ name, target, size, updatedAt }) =>
          h(
            'tr',
            { key: name, 'data-image': name },
            h('th', { scope: 'row' }, name),
            h('td', {}, h('code', { title: target.digest }, short(target.digest))),
            h(
              'td',
              {},
              kinds.find(([form]) => form.test(target.mediaType))?.[1] ?? target.mediaType,
            ),
            h('td.figure', { 'data-size': size }, size === undefined ? '–' : bytes(size)),
            h('td', {}, age(updatedAt)),
          ),
        ),
      ),
    ),
  );
}

customElements.define('dray-images', ImagesView);
