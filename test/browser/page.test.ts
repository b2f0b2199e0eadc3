import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { createRequire } from 'node:module';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { expect } from 'chai';
import type { AxeResults } from 'axe-core';
import type { Browser, BrowserContext, BrowserContextOptions, Page } from 'playwright-core';
import { launchOrSkip } from './chromium.ts';
import { scenes } from './scenes.ts';
import type { Scene } from './scenes.ts';
import { ShownWorld } from './shown-world.ts';

const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

/** How people look at it. */
const views: Record<string, BrowserContextOptions> = {
  light: { viewport: { width: 1200, height: 760 }, colorScheme: 'light' },
  dark: { viewport: { width: 1200, height: 760 }, colorScheme: 'dark' },
  phone: {
    viewport: { width: 390, height: 760 },
    colorScheme: 'light',
    isMobile: true,
    deviceScaleFactor: 2,
  },
  'phone-dark': { viewport: { width: 320, height: 640 }, colorScheme: 'dark', isMobile: true },
};

/** With UPDATE_SCREENSHOTS=1, these go into docs/pictures; with SCREENSHOTS=FOLDER, every page goes there. */
const kept = ['moved-light', 'moved-dark', 'moved-action-light'];
const pictures = join(import.meta.dirname, '../../docs/pictures');

describe('the page in a browser', () => {
  let browser: Browser | undefined;
  let context: BrowserContext | undefined;
  let world: ShownWorld;
  let messages: string[];

  before(async function () {
    browser = await launchOrSkip(this);
  });
  after(() => browser?.close());

  async function look(view: BrowserContextOptions = views['light'] ?? {}): Promise<Page> {
    if (!browser) throw new Error('no browser');
    context = await browser.newContext(view);
    // Only mocha's time-out ends what hangs.
    context.setDefaultTimeout(0);
    const page = await context.newPage();
    messages = [];
    page.on('console', (message) => messages.push(message.text()));
    page.on('pageerror', (error) => messages.push(error.message));
    page.on('dialog', (dialog) => {
      messages.push(`dialog: ${dialog.message()}`);
      void dialog.dismiss();
    });
    page.on('request', (request) => {
      if (!/^(?:data:|http:\/\/127\.0\.0\.1:)/.test(request.url())) messages.push(`asks ${request.url()}`);
    });
    return page;
  }

  afterEach(() => context?.close());

  async function enter(scene: Scene): Promise<void> {
    world = new ShownWorld(scene.create);
    await world.open();
    await scene.play(world);
  }

  for (const scene of scenes) {
    describe(`in the scene "${scene.name}"`, () => {
      before(() => enter(scene));
      after(() => world.close());

      for (const [name, view] of Object.entries(views)) {
        it(`has no accessibility violation, fits and complains of nothing, ${name}`, async () => {
          const page = await look(view);
          for (const path of ['/', ...(scene.paths ?? [])]) {
            await page.goto(world.url + path);
            if (path === '/') expect(await textOf(page)).to.match(scene.says);
            const { violations } = await page.evaluate<AxeResults>(`${axe}; axe.run(document)`);
            const found = violations.map(
              ({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html).join(' ')}`,
            );
            expect(found, path).to.deep.equal([]);
            const wide = await page.evaluate<number>('document.documentElement.scrollWidth - innerWidth');
            expect(wide, `${path} is wider than the screen`).to.be.at.most(0);
            await takePicture(
              page,
              `${scene.name}${path.startsWith('/actions/') ? '-action' : path === '/' ? '' : '-list'}-${name}`,
            );
          }
          expect(messages).to.deep.equal([]);
        });
      }
    });
  }

  describe('that stays open', () => {
    const [healthy, , moved] = scenes;
    beforeEach(async () => {
      if (!healthy) throw new Error('no scene');
      await enter(healthy);
    });
    afterEach(() => world.close());

    /** Opens the page with a clock that the test moves. */
    async function open(path = '/'): Promise<Page> {
      const page = await look();
      await page.clock.install();
      await page.goto(world.url + path);
      return page;
    }

    it('shows after 10 s what has happened, in place', async () => {
      const page = await open();
      await page.evaluate("document.querySelector('header').dataset.same = 'yes'");
      await moved?.play(world);
      await page.clock.runFor(10_000);
      await page.getByText('run back after').waitFor();
      expect(await page.evaluate("document.querySelector('header').dataset.same")).to.equal('yes');
      expect(messages).to.deep.equal([]);
    });

    it('keeps the keyboard where it was', async () => {
      await moved?.play(world);
      const page = await open();
      await page.locator('.actions a').last().focus();
      const href = await page.evaluate("document.activeElement.getAttribute('href')");
      await page.evaluate("document.querySelector('main').dataset.old = 'yes'");
      world.pass(10);
      await page.clock.runFor(10_000);
      await page.locator('main:not([data-old])').waitFor();
      expect(await page.evaluate("document.activeElement.getAttribute('href')")).to.equal(href);
    });

    // F-239: a page that is no longer up to date looks like a calm one.
    it('says that it is not up to date when nobody answers, and goes on when somebody does', async () => {
      const page = await open();
      await page.route('**/*', (route) => route.abort());
      await page.clock.runFor(10_000);
      await page.getByText('Not up to date: no answer.').waitFor();
      expect(await textOf(page)).to.match(healthy?.says ?? /^$/);
      await page.unroute('**/*');
      await page.clock.runFor(10_000);
      await page.getByText('Not up to date').waitFor({ state: 'detached' });
    });

    it('stays as it is while its reader wants it to', async () => {
      const page = await open();
      await page.getByRole('button', { name: 'Stop reloading' }).click();
      await moved?.play(world);
      let asked = 0;
      page.on('request', () => asked++);
      await page.clock.runFor(60_000);
      expect(asked).to.equal(0);
      await page.getByRole('button', { name: 'Reload again' }).click();
      await page.getByText('run back after').waitFor();
    });

    it('copies a line', async () => {
      await moved?.play(world);
      const page = await open('/actions/incident-42');
      await page.context().grantPermissions(['clipboard-read', 'clipboard-write']);
      await page.getByRole('button', { name: 'Copy' }).first().click();
      await page.getByRole('button', { name: 'Copied' }).waitFor();
      const copied = await page.evaluate<string>('navigator.clipboard.readText()');
      expect(copied).to.equal(await page.locator('pre code').first().textContent());
      expect(copied).to.match(/^curl -s 127\.0\.0\.1:\d+\/actions .*uncordon_nodepool/);
    });

    it('shows the same without script, and no button that would do nothing', async () => {
      await moved?.play(world);
      const page = await look({ ...views['light'], javaScriptEnabled: false });
      await page.goto(world.url);
      await page.getByText('run back after').waitFor();
      expect(await page.getByRole('button').count()).to.equal(0);
    });

    // F-237: with a body that has no content type, no browser asks first.
    it('lets no other site send an alert', async () => {
      const page = await open();
      const statuses: number[] = [];
      page.on('response', (response) => {
        if (response.url().endsWith('/alerts')) statuses.push(response.status());
      });
      // On this machine too, because Chromium may keep sites of the Internet away from it.
      const other = createServer((_, response) => response.setHeader('Content-Type', 'text/html').end('<p>'));
      await new Promise<void>((resolve) => other.listen(0, '127.0.0.1', resolve));
      await page.goto(`http://127.0.0.1:${(other.address() as AddressInfo).port}`);
      const before = world.emulator.requests.length;
      await page.evaluate(
        `fetch('${world.url}/alerts', { method: 'POST', mode: 'no-cors', body: new Blob(['{"incident":{}}']) })`,
      );
      other.closeAllConnections();
      other.close();
      expect(statuses).to.deep.equal([403]);
      expect(world.emulator.requests.length).to.equal(before);
    });

    it('runs nothing that came from outside, even if it were not escaped', async () => {
      const page = await open();
      await page.route('**/*', async (route) => {
        const answer = await route.fetch();
        const body = (await answer.text()).replace(
          '<main>',
          '<main><script>document.title = "evil"</script><b onclick="document.title = 1" style="color: red">x</b><img src="https://evil.example/x">',
        );
        await route.fulfill({ response: answer, body });
      });
      await page.goto(world.url);
      await page.locator('b').first().click();
      expect(await page.title()).to.equal('Cluster demo');
      const refused = messages.filter((message) => message.includes('Content Security Policy'));
      expect(refused).to.have.length.at.least(4);
    });
  });
});

async function textOf(page: Page): Promise<string> {
  return (await page.locator('main').innerText()).replaceAll(/\s+/g, ' ');
}

async function takePicture(page: Page, name: string): Promise<void> {
  const folders = [
    ...(process.env['UPDATE_SCREENSHOTS'] === '1' && kept.includes(name) ? [pictures] : []),
    ...(process.env['SCREENSHOTS'] === undefined ? [] : [process.env['SCREENSHOTS']]),
  ];
  if (folders.length === 0) return;
  const picture = await page.screenshot({ fullPage: true });
  for (const folder of folders) {
    mkdirSync(folder, { recursive: true });
    writeFileSync(join(folder, `${name}.png`), picture);
  }
}
