/** The public routes in memory: every shape, bound and header, and what hostile paths and texts come to. */

import { execFileSync } from 'node:child_process';
import { Hono } from 'hono';
import { describe, expect, it } from 'vitest';
import type { BoardRecord } from '../../../worker/status/board-tables.ts';
import { BoardClient } from '../../../worker/status/board-client.ts';
import type { State } from '../../../worker/status/judge.ts';
import { PACE } from '../../../worker/status/pace.ts';
import { answerOtherwise } from '../../../worker/otherwise.ts';
import { mountStatus } from '../../../worker/status/routes.ts';
import {
  fineFacts,
  history,
  incident,
  NOW_MS,
  openIncident,
  record,
  RECORDS,
  scene,
  SCENE_NAMES,
} from '../../support/status-models.ts';

const PAGE_MAX_BYTES = 30 * 1024;
const PATHS = [
  '/',
  '/status',
  '/api/v2/status.json',
  '/api/v2/summary.json',
  '/api/v2/components.json',
  '/api/v2/incidents.json',
  '/incidents.atom',
  '/badge.svg',
  '/badge/store.svg',
];
const noPython = ((): boolean => {
  try {
    execFileSync('python3', ['-c', 'import xml.dom.minidom']);
    return false;
  } catch {
    return true;
  }
})();

function site(shown: BoardRecord | undefined, nowMs = NOW_MS, providers = '["ibkr"]') {
  const app = new Hono();
  const world = { nowMs: () => nowMs, wait: () => new Promise<void>(() => {}), log: () => {} };
  mountStatus(app, { board: new BoardClient(world), nowMs: world.nowMs });
  answerOtherwise(app);
  const board = { fetch: () => Promise.resolve(Response.json(shown)) };
  const bound = shown === undefined ? {} : { STATUS_BOARD: { getByName: () => board } };
  const env = { STATUS_PROVIDERS: providers, ...bound };
  return (path: string, init: RequestInit = {}): Promise<Response> =>
    Promise.resolve(app.request(`https://status.example${path}`, init, env));
}

async function jsonOf<Shape>(response: Promise<Response>): Promise<Shape> {
  return (await (await response).json()) as Shape;
}

describe('every public route', () => {
  it.each(PATHS)('%s answers GET and HEAD, refuses other methods, and may be kept for 5 s at most', async (path) => {
    const get = site(record());
    const answer = await get(path);
    expect(answer.status).toBe(200);
    expect(answer.headers.get('cache-control')).toBe(path === '/status' ? 'no-store' : 'public, max-age=5');
    expect(answer.headers.get('x-content-type-options')).toBe('nosniff');
    const head = await get(path, { method: 'HEAD' });
    expect([head.status, await head.text()]).toEqual([200, '']);
    for (const method of ['POST', 'PUT', 'DELETE', 'PATCH', 'OPTIONS']) {
      const refused = await get(path, { method });
      expect(refused.status).toBe(405);
      expect(refused.headers.get('allow')).toBe('GET, HEAD');
      expect(refused.headers.get('content-type')).toBe('application/problem+json');
    }
  });

  it.each(SCENE_NAMES)('answers 200 with no word of green where there is none: %s', async (name) => {
    const get = site(RECORDS[name]());
    const operational = scene(RECORDS[name]()).overall.state === 'operational';
    for (const path of PATHS.filter((one) => one !== '/badge/store.svg')) {
      const answer = await get(path);
      expect(answer.status).toBe(200);
    }
    const { status } = await jsonOf<{ status: { indicator: string } }>(get('/api/v2/status.json'));
    expect(status.indicator === 'none').toBe(operational);
    expect((await (await get('/badge.svg')).text()).includes('operational')).toBe(operational);
    expect((await (await get('/')).text()).includes('All systems work')).toBe(operational);
  });

  it('is unknown when asked 90 s later, though the board still gives the same record', async () => {
    const get = site(record(), NOW_MS + PACE.staleMs);
    expect(await jsonOf(get('/status'))).toMatchObject({
      overall: { state: 'unknown', words: 'State unknown' },
      figures: { ticksPerSecond: null, delayMs: null, level: null, backlogTicks: null },
      measuredAgeSeconds: 94,
    });
    expect(await (await get('/badge/cluster.svg')).text()).toContain('unknown');
    const { components } = await jsonOf<{ components: { status: string }[] }>(get('/api/v2/components.json'));
    expect(components.map(({ status }) => status)).not.toContain('operational');
  });

  it.each([
    '/badge/nobody.svg',
    '/badge/.svg',
    '/badge/store',
    '/badge/store.png',
    '/badge/STORE.svg',
    '/badge/constructor.svg',
    '/badge/__proto__.svg',
    '/badge/..%2f..%2fstatus.svg',
    '/badge/%00.svg',
    '/badge/%ff.svg',
    `/badge/${'a'.repeat(10_000)}.svg`,
    '/badge/<script>.svg',
    '/badge/provider-acme.svg',
  ])('is a 404 problem for %.40s', async (path) => {
    const answer = await site(record())(path);
    expect(answer.status).toBe(404);
    expect(answer.headers.get('content-type')).toBe('application/problem+json');
  });
});

describe('the names of providers', () => {
  it.each(PATHS)('are nowhere in %s unless a setting shows them', async (path) => {
    const facts = fineFacts({
      providers: { 'secret-bank': { lastSeenMs: NOW_MS - 200_000, usualGapMs: 0, level: 'hard' } },
    });
    const hidden = openIncident({ component: 'provider-secret-bank', componentName: 'secret-bank' });
    const days = [...history(), { ...history()[0]!, component: 'provider-secret-bank' }];
    const shown = record(facts, { incidents: [hidden], days });
    expect(await (await site(shown, NOW_MS, '')(path)).text()).not.toContain('secret-bank');
    expect(await (await site(shown, NOW_MS, 'rubbish')(path)).text()).not.toContain('secret-bank');
    const { overall } = await jsonOf<{ overall: { state: State } }>(site(shown, NOW_MS, '')('/status'));
    expect(overall.state).toBe('operational');
  });
});

describe('the Statuspage shape', () => {
  it('of the summary has the members that its readers read', async () => {
    expect(await jsonOf(site(RECORDS.degraded())('/api/v2/summary.json'))).toEqual({
      page: {
        id: 'market-data-pipeline',
        name: 'market-data-pipeline',
        url: 'https://status.example',
        time_zone: 'Etc/UTC',
        updated_at: '2026-11-23T14:30:01.000Z',
      },
      status: { indicator: 'minor', description: 'Partly degraded' },
      components: ['edge', 'cluster', 'store', 'provider-ibkr'].map((id, at) => {
        return expect.objectContaining({
          id,
          status: at === 0 ? 'operational' : 'degraded_performance',
          position: at + 1,
          group: false,
          page_id: 'market-data-pipeline',
          only_show_if_degraded: false,
        });
      }),
      incidents: [
        expect.objectContaining({
          name: 'Store: slow',
          status: 'identified',
          impact: 'minor',
          started_at: '2026-11-23T14:21:05.000Z',
          resolved_at: null,
          components: [expect.objectContaining({ id: 'store' })],
        }),
      ],
      scheduled_maintenances: [],
    });
  });

  it('of an incident has its updates newest first, each with what it did to the component', async () => {
    const { incidents } = await jsonOf<{ incidents: Record<string, unknown>[] }>(
      site(record())('/api/v2/incidents.json'),
    );
    const { id } = incident();
    expect(incidents).toHaveLength(1);
    expect(incidents[0]).toMatchObject({
      id,
      name: 'Cluster: no answer',
      impact: 'major',
      status: 'resolved',
      shortlink: `https://status.example/#incident-${id}`,
      resolved_at: '2026-10-21T14:57:05.000Z',
      monitoring_at: '2026-10-21T14:57:05.000Z',
      incident_updates: [
        { id: `${id}-2`, incident_id: id, status: 'resolved' },
        {
          status: 'monitoring',
          affected_components: [{ code: 'cluster', old_status: 'major_outage', new_status: 'operational' }],
        },
        { status: 'identified', affected_components: [{ old_status: 'operational', new_status: 'major_outage' }] },
      ],
    });
  });

  it.each([
    ['fine', 'none'],
    ['degraded', 'minor'],
    ['outage', 'major'],
    ['unknown', 'major'],
    ['nothing', 'major'],
  ] as const)('of %s has the indicator %s', async (name, indicator) => {
    const { status } = await jsonOf<{ status: object }>(site(RECORDS[name]())('/api/v2/status.json'));
    expect(status).toMatchObject({ indicator });
  });

  it('is critical when the edge itself is out', async () => {
    const get = site(record(fineFacts({ setUp: false })));
    expect(await jsonOf(get('/api/v2/status.json'))).toMatchObject({
      status: { indicator: 'critical', description: 'Major outage' },
    });
  });
});

describe('markup', () => {
  const evil = `</title><script>alert(1)</script>"'&\u0000\ufffe\ud800`;
  const updates = [{ atMs: NOW_MS, status: 'identified' as const, text: evil }];
  const hostile = record(fineFacts(), { incidents: [openIncident({ componentName: evil, cause: evil, updates })] });

  it.skipIf(noPython)(
    `is well-formed XML in feed and badges, whatever the texts${noPython ? ' (needs Python)' : ''}`,
    async () => {
      for (const shown of [hostile, ...SCENE_NAMES.map((name) => RECORDS[name]())]) {
        for (const path of ['/incidents.atom', '/badge.svg', '/badge/edge.svg']) {
          const xml = await (await site(shown)(path)).text();
          const parse =
            'import sys,xml.dom.minidom as m; print(m.parseString(sys.stdin.buffer.read()).documentElement.tagName)';
          const root = execFileSync('python3', ['-c', parse], { input: xml }).toString().trim();
          expect(root).toBe(path.endsWith('.atom') ? 'feed' : 'svg');
        }
      }
    },
  );

  it('holds no element that a text brought', async () => {
    const get = site(hostile);
    for (const path of ['/', '/incidents.atom']) expect(await (await get(path)).text()).not.toContain('<script>alert');
  });

  it('of the feed has an entry for each incident, with an identity of its own and its last change', async () => {
    const feed = await (await site(RECORDS.degraded())('/incidents.atom')).text();
    const ids = [...feed.matchAll(/<id>(urn:uuid:[0-9a-f-]{36})<\/id>/g)].map((match) => match[1]);
    expect(new Set(ids).size).toBe(2);
    expect(feed).toContain('<updated>2026-11-23T14:21:05.000Z</updated>');
    expect(feed).toContain('rel="self" type="application/atom+xml" href="https://status.example/incidents.atom"');
  });
});

describe('the page', () => {
  it.each(SCENE_NAMES)('is smaller than 30 KiB, and allows nothing but its own style and script: %s', async (name) => {
    const answer = await site(RECORDS[name]())('/');
    const html = await answer.text();
    expect(Buffer.byteLength(html)).toBeLessThan(PAGE_MAX_BYTES);
    const policy = answer.headers.get('content-security-policy')!;
    expect(policy).toContain("default-src 'none'");
    expect(policy).not.toContain('unsafe');
    expect(policy.match(/'sha256-/g)).toHaveLength(2);
    expect(html).not.toMatch(/ style=| on[a-z]+=|https?:\/\/(?!www\.w3\.org)/);
  });

  it('is smaller than 30 KiB on the worst 90 days, with fifty incidents', async () => {
    const days = history().map((day, at) => ({
      ...day,
      operational: 1_440 - (at % 89) - 20,
      degraded: at % 89,
      outage: at % 13,
    }));
    const incidents = Array.from({ length: 50 }, (_, at) =>
      incident({ id: crypto.randomUUID(), startedMs: NOW_MS - at * 86_400_000, endedMs: NOW_MS - at * 86_400_000 + 1 }),
    );
    const html = await (await site(record(fineFacts(), { days, incidents }))('/')).text();
    expect(Buffer.byteLength(html)).toBeLessThan(PAGE_MAX_BYTES);
  });
});
