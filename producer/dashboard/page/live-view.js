import { ApiError } from './api.js';
import { h, show } from './dom.js';
import { duration } from './format.js';
import { say } from './parts.js';

/**
 * A part of the page that asks the API again and again while it is seen, and shows what it said. When the API is
 * away, what was said last stays, with a word about its age.
 * @template Data
 */
export class LiveView extends HTMLElement {
  /** Milliseconds between two looks. */
  interval = 2_000;
  /** @type {Data | undefined} */
  data;
  /** @type {Error | undefined} */
  #error;
  #saidAt = 0;
  #ended = new AbortController();

  /** What is asked. @param {{ signal: AbortSignal }} _options @returns {Promise<Data>} */
  load(_options) {
    throw new Error('to be said by each view');
  }

  /** What is shown of it. @param {Data} _data @returns {import('./dom.js').Several} */
  view(_data) {
    throw new Error('to be said by each view');
  }

  connectedCallback() {
    this.#ended = new AbortController();
    void this.#follow(this.#ended.signal);
  }

  disconnectedCallback() {
    this.#ended.abort();
  }

  /** @param {AbortSignal} signal */
  async #follow(signal) {
    while (!signal.aborted) {
      if (!document.hidden || this.data === undefined) await this.refresh();
      await new Promise((resolve) => {
        const end = () => {
          clearTimeout(timer);
          signal.removeEventListener('abort', end);
          resolve(undefined);
        };
        const timer = setTimeout(end, this.interval);
        signal.addEventListener('abort', end);
      });
    }
  }

  /** Asks now. */
  async refresh() {
    const { signal } = this.#ended;
    try {
      this.data = await this.load({ signal });
      this.#error = undefined;
      this.#saidAt = Date.now();
    } catch (error) {
      if (signal.aborted) return;
      this.#error = /** @type {Error} */ (error);
    }
    if (!signal.aborted) this.draw();
  }

  /** Shows again what is known. */
  draw() {
    show(
      this,
      this.#trouble(),
      this.data === undefined ? this.#error === undefined && waiting() : this.view(this.data),
    );
    this.toggleAttribute('data-shown', this.data !== undefined);
  }

  #trouble() {
    const error = this.#error;
    if (error === undefined) return undefined;
    const hint = error instanceof ApiError ? error.hint : undefined;
    return h(
      'div.trouble',
      { role: 'alert', key: 'trouble' },
      h('strong', {}, error.message),
      hint !== undefined && h('p', {}, hint),
      this.data !== undefined &&
        h('p', {}, `Shown is what it said ${duration((Date.now() - this.#saidAt) / 1000)} ago.`),
    );
  }

  /** Does something for the person, says how it went, and looks again. @param {() => Promise<string>} work */
  async act(work) {
    const item = document.activeElement?.closest('li');
    const beside = item?.nextElementSibling ?? item?.previousElementSibling;
    try {
      say(await work());
    } catch (error) {
      const { message, hint } = /** @type {ApiError} */ (error);
      say(hint === undefined ? message : `${message}. ${hint}`);
    }
    await this.refresh();
    if (document.activeElement !== document.body) return;
    // The button has gone with what it was for: the keyboard goes on beside it.
    const next = beside?.isConnected ? beside.querySelector('button') : this.closest('main');
    next?.focus();
  }
}

function waiting() {
  return h('p.waiting', { key: 'waiting' }, 'Asking the API …');
}
