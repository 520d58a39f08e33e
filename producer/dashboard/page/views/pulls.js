import { ask } from '../api.js';
import { h } from '../dom.js';
import { LiveView } from '../live-view.js';
import { empty, filter } from '../parts.js';
import { pullRow } from './pull-row.js';

/** @typedef {import('../../../client/api.ts').PullList} PullList */

/** All pulls, newest first. @extends {LiveView<PullList>} */
class PullsView extends LiveView {
  #limit = 50;
  #wanted = '';

  /** @override @param {{ signal: AbortSignal }} options @returns {Promise<PullList>} */
  load(options) {
    return ask(`/v1/pulls?limit=${this.#limit}`, options);
  }

  /** @override @param {PullList} data */
  view({ items, next }) {
    const shown = items.filter(({ reference, state, id }) =>
      [reference, state, id].some((text) => text.toLowerCase().includes(this.#wanted)),
    );
    return [
      h(
        'div.bar-of-page',
        { key: 'head' },
        h('h1', {}, 'Pulls'),
        filter('Filter by reference or state', (text) => {
          this.#wanted = text;
          this.draw();
        }),
      ),
      items.length === 0
        ? empty(
            'No pulls yet',
            'What is pulled is listed here for seven days.',
            'dray pull docker.io/library/redis:latest',
          )
        : h('ul.card.rows', { key: 'rows' }, shown.map(pullRow)),
      items.length > 0 &&
        shown.length === 0 &&
        h('p.waiting', {}, 'None of the pulls on this page matches.'),
      next !== undefined &&
        this.#limit < 200 &&
        h('button', { key: 'more', onclick: () => this.#more() }, 'Show older ones'),
    ];
  }

  async #more() {
    this.#limit = 200;
    await this.refresh();
  }
}

customElements.define('dray-pulls', PullsView);
