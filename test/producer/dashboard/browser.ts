import { type Browser, chromium, type Page } from 'playwright-core';

export type { Page } from 'playwright-core';

/** A real Chromium, from the system's package. */
export async function startBrowser(): Promise<TestBrowser> {
  const browser = await chromium.launch({
    executablePath: '/usr/bin/chromium',
    // Tests run as root, and a small machine has a small /dev/shm.
    args: ['--no-sandbox', '--disable-dev-shm-usage'],
  });
  return new TestBrowser(browser);
}

export class TestBrowser implements AsyncDisposable {
  readonly #browser: Browser;
  constructor(browser: Browser) {
    this.#browser = browser;
  }

  /** A new tab, with a session of its own. What goes wrong in it ends up in `faults`. */
  async open(
    url: string,
    options: { width?: number; height?: number; dark?: boolean; still?: boolean } = {},
  ): Promise<{ page: Page; faults: string[] }> {
    const context = await this.#browser.newContext({
      viewport: { width: options.width ?? 1280, height: options.height ?? 860 },
      colorScheme: options.dark === true ? 'dark' : 'light',
      reducedMotion: options.still === true ? 'reduce' : 'no-preference',
    });
    const page = await context.newPage();
    const faults: string[] = [];
    page.on('pageerror', (error) => faults.push(String(error)));
    page.on('console', (message) => {
      if (message.type() === 'error') faults.push(message.text());
    });
    page.on('request', (request) => {
      if (!request.url().startsWith(new URL(url).origin)) faults.push(`asked for ${request.url()}`);
    });
    await page.goto(url);
    return { page, faults };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#browser.close();
  }
}
