/**
 * The status page in a real Chromium: every state in light and dark, wide and narrow, with and without scripts. With
 * `MDP_SCREENSHOTS` set to a directory, what was seen is kept there as pictures.
 */

import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { PACE } from '../../worker/status/pace.ts';
import { Browser, type BrowserPage, CHROMIUM, NEEDS_CHROMIUM } from '../support/browser.ts';
import { fineFacts, openIncident, record, RECORDS, SCENE_NAMES, type SceneName } from '../support/status-models.ts';
import { StatusSite } from '../support/status-site.ts';

const STATES: Readonly<Record<SceneName, string>> = {
  fine: 'All systems work',
  degraded: 'Partly degraded',
  outage: 'Partial outage',
  unknown: 'State unknown',
  'first day': 'All systems work',
  nothing: 'State unknown',
};
/** An open page refreshes every 600 ms; a scene, whose canary is 12 s old, is old after 4 s. */
const QUICK = { refreshMs: 600, staleMs: 16_000 };

/** Every text that is drawn, with its colour's contrast against what lies behind it. Source: WCAG 2.2, 1.4.3. */
const CONTRASTS = `(() => {
  const rgb = (text) => (text.match(/[\\d.]+/g) ?? []).map(Number);
  const light = ([r, g, b]) => [r, g, b].map((c) => c / 255)
    .map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4))
    .reduce((sum, c, at) => sum + c * [0.2126, 0.7152, 0.0722][at], 0);
  const behind = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const colour = rgb(getComputedStyle(at).backgroundColor);
      if (colour[3] !== 0) return colour;
    }
    return [255, 255, 255];
  };
  const found = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    const text = walker.currentNode.textContent.trim();
    if (!text || element.closest('script,style,svg,[hidden]') || !element.checkVisibility()) continue;
    const [one, other] = [light(rgb(getComputedStyle(element).color)), light(behind(element))];
    found.push({ text, ratio: (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05) });
  }
  for (const bar of document.querySelectorAll('.bars path:not(.b-none)')) {
    const [one, other] = [light(rgb(getComputedStyle(bar).fill)), light(behind(bar.closest('svg').parentElement))];
    found.push({ text: 'a bar', ratio: 1.5 * (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05) });
  }
  return found;
})()`;

/** Adds up every layout shift from here on. Source: Layout Instability, as Lighthouse measures it. */
const WATCH_SHIFTS = `window.shifts = []; new PerformanceObserver((list) => {
  for (const entry of list.getEntries()) window.shifts.push(entry.value);
}).observe({ type: 'layout-shift', buffered: true }); true`;

describe.skipIf(CHROMIUM === undefined)(`the status page${NEEDS_CHROMIUM}`, { timeout: 60_000 }, () => {
  let browser: Browser;
  let site: StatusSite;
  let quick: StatusSite;
  /** One for each way to look at all scenes. */
  const pages = new Map<string, BrowserPage>();

  beforeAll(async () => {
    browser = await Browser.start();
    site = await StatusSite.start();
    quick = await StatusSite.start(QUICK);
  });

  beforeEach(() => {
    for (const one of [site, quick]) {
      one.show(RECORDS.fine());
      one.broken = false;
    }
  });

  afterAll(async () => {
    await browser?.[Symbol.asyncDispose]();
    await site?.[Symbol.asyncDispose]();
    await quick?.[Symbol.asyncDispose]();
  });

  describe.each(SCENE_NAMES)('showing %s', (name) => {
    it.each([
      ['light', 1_100],
      ['dark', 1_100],
      ['light', 390],
      ['dark', 390],
    ] as const)('is readable in %s, %i wide, and has nothing to complain of', async (scheme, width) => {
      site.show(RECORDS[name]());
      const page = pages.get(`${scheme} ${width}`) ?? (await browser.page({ scheme, width }));
      pages.set(`${scheme} ${width}`, page);
      page.complaints.length = 0;
      await page.open(site.url);
      expect(await heading(page)).toBe(STATES[name]);
      const contrasts = await page.evaluate<{ text: string; ratio: number }[]>(CONTRASTS);
      expect(contrasts.length).toBeGreaterThan(20);
      expect(contrasts.filter(({ ratio }) => ratio < 4.5)).toEqual([]);
      const overflow = await page.evaluate('document.documentElement.scrollWidth - innerWidth');
      expect(overflow).toBeLessThanOrEqual(0);
      expect(page.complaints).toEqual([]);
      await keepPicture(page, `${name.replace(' ', '-')}-${scheme}-${width}`);
    });
  });

  it('is told to a screen reader by landmarks, headings, states in words and texts for its pictures', async () => {
    site.show(RECORDS.degraded());
    const page = await browser.page();
    await page.open(site.url);
    const spoken = await page.spoken();
    const named = (role: string): string[] => spoken.filter((node) => node.role === role).map((node) => node.name);
    expect(named('main')).toHaveLength(1);
    expect(named('banner')).toHaveLength(1);
    expect(named('contentinfo')).toHaveLength(1);
    expect(named('navigation')).toEqual(['Other formats']);
    expect(named('region')).toEqual(['Partly degraded', 'Now', 'Components', 'Incidents of the last 90 days']);
    expect(named('status')).toHaveLength(1);
    expect(named('heading')).toEqual([
      'Partly degraded',
      'Now',
      'Components',
      'Edge intake',
      'Cluster',
      'Store',
      'ibkr',
      'Incidents of the last 90 days',
      'Store: slow',
      'Cluster: no answer',
    ]);
    const pictures = spoken.filter(({ role }) => role === 'image' || role === 'img').map((node) => node.name);
    expect(pictures).toHaveLength(5);
    expect(pictures[3]).toMatch(
      /^90 days, not all well on 3: 11 Nov degraded, up 100 %, degraded 180 min; 21 Oct outage/,
    );
    expect(spoken.map((node) => node.name)).toContain('Degraded');
    const levels = await page.evaluate(`[...document.querySelectorAll('h1,h2,h3')].map((h) => h.localName).join(' ')`);
    expect(levels).toBe('h1 h2 h2 h3 h3 h3 h3 h2 h3 h3');
  });

  it('is walked through by keyboard in the order of the page, and shows where one is', async () => {
    const page = await browser.page();
    await page.open(site.url);
    const walked: string[] = [];
    for (let at = 0; at < 4; at += 1) {
      await page.press('Tab');
      const shown = `(() => { const at = document.activeElement; const look = getComputedStyle(at);
        const { x, y } = at.getBoundingClientRect();
        return at.innerText + ' ' + (look.outlineStyle === 'solid' && parseFloat(look.outlineWidth) >= 2 && x >= 0 && y >= 0); })()`;
      walked.push(await page.evaluate(shown));
    }
    expect(walked).toEqual(['Skip to the state true', 'Feed true', 'JSON true', 'Badge true']);
  });

  it('refreshes its figures in place: no shift, focus and reading place kept, no complaint', async () => {
    const page = await browser.page();
    await page.open(quick.url);
    await page.evaluate(WATCH_SHIFTS);
    await page.evaluate(
      `document.querySelector('nav a').focus(); scrollTo(0, 200); window.kept = document.querySelector('h1'); true`,
    );
    const facts = fineFacts({
      load: { atMs: fineFacts().beatMs!, ticksPerSecond: 98_765, outstandingTicks: 1_234_567, oldestAgeSeconds: 3 },
    });
    quick.show(record(facts));
    await expect.poll(() => page.evaluate(`document.querySelector('dd').innerText`), { timeout: 5_000 }).toBe('98,765');
    expect(
      await page.evaluate(`[document.activeElement.innerText, scrollY, window.kept === document.querySelector('h1')]`),
    ).toEqual(['Feed', 200, true]);
    expect(await page.evaluate('window.shifts')).toEqual([]);
    expect(page.complaints).toEqual([]);
  });

  it.each([1_100, 390])('goes from fine through every state and back without a shift, %i wide', async (width) => {
    const page = await browser.page({ width });
    await page.open(quick.url);
    await page.evaluate(WATCH_SHIFTS);
    for (const name of ['degraded', 'outage', 'fine'] as const) {
      quick.show(RECORDS[name]());
      await expect.poll(() => heading(page), { timeout: 5_000 }).toBe(STATES[name]);
      expect(await page.evaluate('document.title')).toContain(STATES[name]);
    }
    expect(await page.evaluate<number[]>('window.shifts')).toEqual([]);
    expect(page.complaints).toEqual([]);
  });

  it('turns to unknown by itself when it cannot be refreshed, everywhere, and comes back', async () => {
    const page = await browser.page();
    await page.open(quick.url);
    expect(await heading(page)).toBe(STATES.fine);
    quick.broken = true;
    await expect.poll(() => heading(page), { timeout: 10_000 }).toBe('State unknown');
    const shown = `({ title: document.title, states: [...new Set([...document.querySelectorAll('main [data-part][data-state]')].map((one) => one.dataset.state))],
      labels: [...document.querySelectorAll('.components .label')].map((one) => one.innerText), figures: [...document.querySelectorAll('dd[data-old]')].map((one) => one.innerText).join('|') })`;
    expect(await page.evaluate(shown)).toMatchObject({
      title: 'State unknown · market-data-pipeline status',
      states: ['unknown'],
      labels: ['Unknown', 'Unknown', 'Unknown', 'Unknown'],
      // Not a word that is about now.
      figures: '–|last minute|–|edge to stored|–||–|',
    });
    await keepPicture(page, 'not-refreshed');
    quick.broken = false;
    quick.show(RECORDS.outage());
    await expect.poll(() => heading(page), { timeout: 5_000 }).toBe(STATES.outage);
    expect(await page.evaluate(`document.querySelector('dd').innerText`)).toBe('12,400');
  });

  it('is unknown in the browser no later than 90 s after its oldest measurement', async () => {
    const html = await (await fetch(site.url)).text();
    const [, at, until] = /data-at="(\d+)".* data-fresh-until="(\d+)"/.exec(html)!;
    expect(Number(until) - Number(at)).toBeLessThanOrEqual(PACE.staleMs - 12_000);
  });

  it('leaves the words of the server when the server itself says unknown', async () => {
    const words = `document.querySelector('.why').innerText`;
    site.show(RECORDS.unknown());
    const page = await browser.page();
    await page.open(site.url);
    await page.evaluate('new Promise((resolve) => setTimeout(resolve, 1_500))');
    expect(await page.evaluate(words)).toMatch(/^Not measured for 1\d min\. What is shown below/);
  });

  it('works without JavaScript: all is there, and it reloads by itself', async () => {
    const page = await browser.page({ scripts: false });
    const before = quick.pages;
    await page.open(quick.url);
    const names = (await page.spoken()).filter(({ role }) => role === 'heading').map(({ name }) => name);
    expect(names).toContain(STATES.fine);
    await expect.poll(() => quick.pages, { timeout: 5_000 }).toBeGreaterThan(before + 1);
  });

  it('shows names, causes and texts as text, whatever they hold', async () => {
    const evil = `<img src=x onerror="console.error('pwned')">"'&`;
    const updates = [{ atMs: fineFacts().beatMs!, status: 'identified' as const, text: evil }];
    site.show(record(fineFacts(), { incidents: [openIncident({ componentName: evil, cause: evil, updates })] }));
    const page = await browser.page();
    await page.open(site.url);
    expect(await page.evaluate(`document.querySelector('.incidents h3').innerText`)).toBe(`${evil}: ${evil}`);
    expect(await page.evaluate('document.images.length')).toBe(0);
    expect(page.complaints).toEqual([]);
  });

  it('runs nothing that is not its own: an inserted script and style are refused', async () => {
    const page = await browser.page();
    await page.open(site.url);
    const inserted = `(() => { const script = document.createElement('script'); script.textContent = 'window.ran = true';
      document.body.append(script); return window.ran === undefined; })()`;
    expect(await page.evaluate(inserted)).toBe(true);
    expect(page.complaints.join()).toContain('Content Security Policy');
  });

  it('has a feed and badges that a browser takes for what they are', async () => {
    site.show(RECORDS.degraded());
    const page = await browser.page();
    await page.open(site.url);
    const parsed = `(async () => {
      const get = async (path, type) => new DOMParser().parseFromString(await (await fetch(path)).text(), type);
      const feed = await get('/incidents.atom', 'application/xml');
      const badge = await get('/badge/store.svg', 'image/svg+xml');
      return [feed.querySelectorAll('parsererror').length, feed.querySelectorAll('entry').length, badge.documentElement.localName, badge.querySelector('title').textContent];
    })()`;
    expect(await page.evaluate(parsed)).toEqual([0, 2, 'svg', 'store: degraded']);
    const badge = await browser.page({ width: 400, height: 100 });
    await badge.open(`${site.url}/badge.svg`);
    expect(badge.complaints).toEqual([]);
    await keepPicture(badge, 'badge');
  });
});

function heading(page: BrowserPage): Promise<string> {
  return page.evaluate(`document.querySelector('h1').innerText`);
}

async function keepPicture(page: BrowserPage, name: string): Promise<void> {
  const directory = process.env['MDP_SCREENSHOTS'];
  if (directory === undefined) return;
  await mkdir(directory, { recursive: true });
  await writeFile(join(directory, `${name}.png`), await page.picture());
}
