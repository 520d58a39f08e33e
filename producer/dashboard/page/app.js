import { hasToken, signIn, signOut } from './api.js';
import { h, show } from './dom.js';
import './views/failed.js';
import './views/images.js';
import './views/nodes.js';
import './views/overview.js';
import './views/pull.js';
import './views/pulls.js';

const pages = [
  { path: '', title: 'Overview', element: 'dray-overview' },
  { path: 'pulls', title: 'Pulls', element: 'dray-pulls' },
  { path: 'nodes', title: 'Nodes', element: 'dray-nodes' },
  { path: 'images', title: 'Images', element: 'dray-images' },
  { path: 'failed', title: 'Failed', element: 'dray-failed' },
];

/** The frame: who is in, which page is shown, and what is said to the person. */
class App extends HTMLElement {
  #needsToken = false;
  /** Why the token that was shown is not good. */
  #refused = '';
  #said = '';
  #saying = 0;

  connectedCallback() {
    window.addEventListener('hashchange', () => {
      this.#draw();
      this.querySelector('main')?.focus();
      window.scrollTo(0, 0);
    });
    window.addEventListener('dray-signed-out', (event) => {
      this.#refused = /** @type {CustomEvent<string>} */ (event).detail;
      this.#needsToken = true;
      this.#draw();
      this.querySelector('input')?.focus();
    });
    window.addEventListener('dray-say', (event) => {
      this.#said = /** @type {CustomEvent<string>} */ (event).detail;
      clearTimeout(this.#saying);
      this.#saying = window.setTimeout(() => {
        this.#said = '';
        this.#draw();
      }, 6_000);
      this.#draw();
    });
    this.#draw();
  }

  #draw() {
    const [path = '', id = ''] = location.hash.replace(/^#\/?/, '').split('/').map(decoded);
    const page = pages.find((each) => each.path === path) ?? pages[0];
    document.title =
      id !== ''
        ? `Pull ${id} – drayage`
        : page?.path === ''
          ? 'drayage'
          : `${page?.title} – drayage`;
    show(
      this,
      h(
        'a.skip',
        { href: '#main', onclick: (/** @type {Event} */ event) => this.#skip(event) },
        'Skip to content',
      ),
      h(
        'header',
        {},
        h(
          'a.brand',
          { href: '#/' },
          h('img', { src: '/mark.svg', alt: '', width: 26, height: 26 }),
          'drayage',
        ),
        h(
          'nav',
          { 'aria-label': 'Pages' },
          pages.map(({ path: at, title }) =>
            h(
              'a',
              { key: at, href: `#/${at}`, 'aria-current': at === page?.path ? 'page' : undefined },
              title,
            ),
          ),
        ),
        hasToken() && !this.#needsToken && h('button.plain', { onclick: signOut }, 'Sign out'),
      ),
      h(
        'main',
        { id: 'main', tabindex: -1 },
        this.#needsToken
          ? this.#signIn()
          : path === 'pulls' && id !== ''
            ? h('dray-pull', { key: `pull ${id}`, pull: id })
            : h(page?.element ?? 'dray-overview', { key: page?.path }),
      ),
      h(
        'div.said',
        { role: 'status', class: this.#said === '' ? 'silent' : undefined },
        this.#said,
      ),
    );
  }

  /** @param {Event} event */
  #skip(event) {
    event.preventDefault();
    this.querySelector('main')?.focus();
  }

  #signIn() {
    return h(
      'form.sign-in',
      {
        key: 'sign-in',
        onsubmit: (/** @type {SubmitEvent} */ event) => {
          event.preventDefault();
          const form = /** @type {HTMLFormElement} */ (event.target);
          const token = String(new FormData(form).get('token') ?? '').trim();
          if (token === '') return;
          signIn(token);
          this.#needsToken = false;
          this.#draw();
          this.querySelector('main')?.focus();
        },
      },
      h('h1', {}, 'Sign in'),
      h(
        'p',
        {},
        hasToken() && this.#refused !== '' ? `${this.#refused}.` : 'This API asks for a token.',
      ),
      h('label', { for: 'token' }, 'Token'),
      h('input', {
        id: 'token',
        name: 'token',
        type: 'password',
        autocomplete: 'current-password',
        required: true,
      }),
      h('button.primary', { type: 'submit' }, 'Sign in'),
      h(
        'p.note',
        {},
        'It is kept in this tab alone, until it is closed. Make one with ',
        h('code', {}, 'dray token create NAME --scope read'),
        '.',
      ),
    );
  }
}

/** A part of an address; as it stands where it is no right one. @param {string} part */
function decoded(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

customElements.define('dray-app', App);
