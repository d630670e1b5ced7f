/** Who may read the scaling figures, and in which shapes. */

import { describe, expect, it } from 'vitest';
import {
  type MeterCalls,
  noBatches,
  type ProviderFigures,
  type ScalingFigures,
} from '../../../worker/scaling/calls.ts';
import { exposition, PROVIDER_LABELS_MAX } from '../../../worker/scaling/exposition.ts';
import { loadOf } from '../../../worker/scaling/load.ts';
import { memoryEdge } from '../../support/edge-app.ts';
import { makeCredentials } from '../../support/edge-credentials.ts';
import { parseExposition, sampleOf } from '../../../deploy/mdp/exposition.ts';

const TOKEN = 'a-scaling-token-of-some-length';
const NEXT_TOKEN = 'another-scaling-token-0123456789';
const ZERO: ProviderFigures = {
  ticksPerSecond: 0,
  outstandingTicks: 0,
  oldestOutstandingSeconds: 0,
  ticksOffered: 0,
  batches: noBatches(),
};
const FIGURES: ScalingFigures = {
  atMs: Date.parse('2026-11-23T14:30:00Z'),
  providers: {
    ibkr: {
      ticksPerSecond: 1234.5,
      outstandingTicks: 700,
      oldestOutstandingSeconds: 4.25,
      ticksOffered: 90_000,
      batches: { ...noBatches(), stored: 100, buffered: 7 },
    },
    acme: ZERO,
  },
};

function edgeWith(figures: MeterCalls['figures'] | undefined, more: Record<string, unknown> = {}) {
  const METER = { getByName: () => ({ figures }) };
  const bindings = { ...makeCredentials().bindings(), SCALING_TOKEN: `${TOKEN} ${NEXT_TOKEN}`, ...more };
  const edge = memoryEdge(figures === undefined ? bindings : { ...bindings, METER });
  return (path: string, token: string | undefined = TOKEN) =>
    edge.request(path, token === undefined ? {} : { headers: { authorization: `Bearer ${token}` } });
}

const known = (): Promise<ScalingFigures> => Promise.resolve(FIGURES);

describe.each(['/v1/scaling', '/metrics'])('%s', (path) => {
  it('is read with any of the tokens, and with nothing else', async () => {
    const get = edgeWith(known);
    for (const token of [TOKEN, NEXT_TOKEN]) expect((await get(path, token)).status).toBe(200);
    for (const token of ['', 'ibkr-token-new', `${TOKEN}x`, TOKEN.slice(1), `${TOKEN} ${NEXT_TOKEN}`]) {
      const answer = await get(path, token);
      expect(answer.status, token).toBe(401);
      expect(answer.headers.get('www-authenticate')).toBe('Bearer');
    }
  });

  it('is not there when no token is set', async () => {
    for (const SCALING_TOKEN of [undefined, '']) {
      expect((await edgeWith(known, { SCALING_TOKEN })(path)).status).toBe(404);
    }
  });

  it.each([
    ['throws', () => Promise.reject(new Error('overloaded'))],
    ['has no settings', () => Promise.resolve(undefined)],
    ['is not bound', undefined],
  ])('is a 503, never zeros, when the meter %s', async (_, figures) => {
    const answer = await edgeWith(figures)(path);
    expect(answer.status).toBe(503);
    expect(await answer.text()).not.toContain('edge_');
  });

  it('is a 503 when the settings are wrong', async () => {
    expect((await edgeWith(known, { SCALING_TOKEN: 'short' })(path)).status).toBe(503);
  });

  it('takes GET alone', async () => {
    const edge = memoryEdge(makeCredentials().bindings());
    expect((await edge.request(path, { method: 'POST' })).status).toBe(405);
  });
});

describe('the JSON', () => {
  it('has the figures of all providers together and of each', async () => {
    expect(await (await edgeWith(known)('/v1/scaling')).json()).toEqual({
      asOf: '2026-11-23T14:30:00.000Z',
      windowSeconds: 20,
      total: { demandTicksPerSecond: 1234.5, outstandingTicks: 700, oldestOutstandingSeconds: 4.25 },
      providers: {
        ibkr: { demandTicksPerSecond: 1234.5, outstandingTicks: 700, oldestOutstandingSeconds: 4.25 },
        acme: { demandTicksPerSecond: 0, outstandingTicks: 0, oldestOutstandingSeconds: 0 },
      },
    });
  });

  it('leaves out what is not known, also of the whole', async () => {
    const providers = { ...FIGURES.providers, acme: { ...ZERO, outstandingTicks: null } };
    const json = await (await edgeWith(() => Promise.resolve({ ...FIGURES, providers }))('/v1/scaling')).json();
    expect(json).toMatchObject({ providers: { acme: { demandTicksPerSecond: 0, oldestOutstandingSeconds: 0 } } });
    expect((json as { total: object }).total).not.toHaveProperty('outstandingTicks');
    expect((json as { providers: { acme: object } }).providers.acme).not.toHaveProperty('outstandingTicks');
    expect(loadOf({ ...FIGURES, providers })).toBeUndefined();
  });
});

describe('the exposition', () => {
  it('is Prometheus text with every family, and series of every provider before its first tick', async () => {
    const answer = await edgeWith(known)('/metrics');
    expect(answer.headers.get('content-type')).toBe('text/plain; version=0.0.4; charset=utf-8');
    const families = parseExposition(await answer.text());
    expect([...families.values()].map(({ name, type }) => `${name} ${type}`)).toEqual([
      'edge_demand_ticks_per_second gauge',
      'edge_outstanding_ticks gauge',
      'edge_oldest_outstanding_seconds gauge',
      'edge_ticks_offered_total counter',
      'edge_batches_total counter',
    ]);
    expect(sampleOf(families, 'edge_demand_ticks_per_second', { provider: 'ibkr' })).toBe(1234.5);
    expect(sampleOf(families, 'edge_outstanding_ticks', { provider: 'acme' })).toBe(0);
    expect(sampleOf(families, 'edge_oldest_outstanding_seconds', { provider: 'ibkr' })).toBe(4.25);
    expect(sampleOf(families, 'edge_ticks_offered_total', { provider: 'ibkr' })).toBe(90_000);
    expect(sampleOf(families, 'edge_batches_total', { provider: 'ibkr', outcome: 'buffered' })).toBe(7);
    expect(sampleOf(families, 'edge_batches_total', { provider: 'acme', outcome: 'over_budget' })).toBe(0);
  });

  it('leaves out what is not known', () => {
    const families = parseExposition(exposition({ atMs: 0, providers: { ibkr: { ...ZERO, ticksPerSecond: null } } }));
    expect(families.get('edge_demand_ticks_per_second')!.samples).toEqual([]);
    expect(families.get('edge_outstanding_ticks')!.samples).toHaveLength(1);
  });

  it('has twenty providers by name and the rest as other, also one of that name', () => {
    const names = ['other', ...Array.from({ length: 30 }, (_, at) => `p${at}`)];
    const providers = Object.fromEntries(names.map((name) => [name, { ...ZERO, ticksPerSecond: 2 }]));
    const families = parseExposition(exposition({ atMs: 0, providers }));
    const { samples } = families.get('edge_demand_ticks_per_second')!;
    expect(samples).toHaveLength(PROVIDER_LABELS_MAX + 1);
    expect(samples.at(-1)).toMatchObject({ labels: { provider: 'other' }, value: 22 });
    expect(samples.reduce((sum, { value }) => sum + value, 0)).toBe(62);
  });
});
