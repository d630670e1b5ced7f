/** What the edge shows of the cluster: the last known state and its age, whatever the cluster answers. */

import { describe, expect, it } from 'vitest';
import { SNAPSHOT_INTERVAL_MS, SNAPSHOT_MAX_BYTES } from '../../../worker/status/snapshot.ts';
import type { EdgeStatus } from '../../../worker/status/view.ts';
import {
  byteStream,
  memoryEdge,
  type MemoryEdge,
  podAnswers,
  podHangs,
  podRefusesConnections,
  START_MS,
} from '../../support/edge-app.ts';
import { makeCredentials } from '../../support/edge-credentials.ts';

const bindings = makeCredentials().bindings();
const SNAPSHOT = { service: 'market-data-pipeline', level: 'ok', depth: 7 };

async function statusOf(edge: MemoryEdge): Promise<EdgeStatus> {
  const response = await edge.request('/status');
  expect(response.status).toBe(200);
  expect(response.headers.get('content-type')).toBe('application/json');
  return (await response.json()) as EdgeStatus;
}

function snapshotCluster(): Promise<Response> {
  return Promise.resolve(Response.json(SNAPSHOT));
}

describe('the status', () => {
  it('is that of the pod, and says when it was seen', async () => {
    expect(await statusOf(memoryEdge(bindings, snapshotCluster))).toMatchObject({
      service: 'market-data-pipeline-edge',
      state: 'ok',
      asOf: new Date(START_MS).toISOString(),
      ageSeconds: 0,
      cluster: SNAPSHOT,
      clusterAgeSeconds: 0,
      lastAnswer: null,
      lastFailure: null,
    });
  });

  it('asks the pod at most once a second, however many look', async () => {
    const edge = memoryEdge(bindings, snapshotCluster);
    await Promise.all([statusOf(edge), statusOf(edge), statusOf(edge)]);
    edge.clock.nowMs += SNAPSHOT_INTERVAL_MS - 1;
    await statusOf(edge);
    expect(edge.calls).toHaveLength(1);
    edge.clock.nowMs += 1;
    await statusOf(edge);
    expect(edge.calls).toHaveLength(2);
  });

  it('keeps the last snapshot and its age when the cluster goes away, and comes back with it', async () => {
    let away = false;
    const edge = memoryEdge(bindings, () => (away ? podRefusesConnections() : snapshotCluster()));
    await statusOf(edge);
    away = true;
    edge.clock.nowMs += 90_000;
    const lost = await statusOf(edge);
    expect(lost).toMatchObject({ state: 'unreachable', ageSeconds: 0, cluster: SNAPSHOT, clusterAgeSeconds: 90 });
    expect(lost.lastFailure).toMatchObject({ why: 'the cluster could not be reached', ageSeconds: 0 });
    away = false;
    edge.clock.nowMs += 5_000;
    expect(await statusOf(edge)).toMatchObject({ state: 'ok', lastFailure: { ageSeconds: 5 }, clusterAgeSeconds: 0 });
  });

  it('takes its level from the last answer to ticks when that is newer', async () => {
    const edge = memoryEdge(bindings, (url) =>
      url.endsWith('/status')
        ? snapshotCluster()
        : Promise.resolve(new Response('{}', { headers: { 'mdp-level': 'soft', 'mdp-rate-scale': '0.5' } })),
    );
    await statusOf(edge);
    const headers = { authorization: 'Bearer ibkr-token-new' };
    await edge.request('/v1/ticks/ibkr', { method: 'POST', headers, body: '{}' });
    expect(await statusOf(edge)).toMatchObject({
      state: 'soft',
      lastAnswer: { status: 200, level: 'soft', ageSeconds: 0 },
    });
  });

  it.each([
    ['rubbish', podAnswers('<html>', {})],
    ['a list', podAnswers('[]', {})],
    ['null', podAnswers('null', {})],
    ['nothing', podAnswers(null, {})],
    ['an error', podAnswers('{}', { status: 500 })],
    ['a redirect', podAnswers(null, { status: 302, headers: { location: '/' } })],
    ['more than the limit', podAnswers(byteStream(SNAPSHOT_MAX_BYTES / 65_536 + 1), {})],
    ['a body that breaks off', podAnswers(byteStream(1, 'error'), {})],
    ['a body that never ends', podAnswers(byteStream(1, 'hang'), {})],
    ['no answer', podHangs],
  ])('is 200 and unreachable when the cluster answers %s', async (_, cluster) => {
    const status = await statusOf(memoryEdge(bindings, cluster, { snapshotTimeoutMs: 20 }));
    expect(status).toMatchObject({ state: 'unreachable', cluster: null });
    expect(status.lastFailure!.why).not.toContain('cluster.test');
  });

  it('is unknown, and asks nobody, when the settings are wrong', async () => {
    const edge = memoryEdge({ ...bindings, CLUSTER_URL: 'nowhere' }, snapshotCluster);
    expect(await statusOf(edge)).toMatchObject({ state: 'unknown', asOf: null, ageSeconds: null, cluster: null });
    expect(edge.calls).toEqual([]);
  });

  it('never shows a credential, however deep a pod may have put it', async () => {
    const leaky = {
      level: 'ok',
      store: { urls: ['postgres://user:hunter2@db/x', 'redis://:hunter2@r'] },
      note: 'key whsec_aHVudGVyMg== and Bearer hunter2',
    };
    const edge = memoryEdge(bindings, podAnswers(JSON.stringify(leaky), {}));
    const { cluster } = await statusOf(edge);
    expect(cluster).toEqual({
      level: 'ok',
      store: { urls: ['postgres://***@db/x', 'redis://***@r'] },
      note: 'key whsec_*** and Bearer ***',
    });
  });

  it('does not tell which providers there are', async () => {
    const edge = memoryEdge(
      bindings,
      podAnswers(JSON.stringify({ ...SNAPSHOT, providers: { ibkr: { offered: 9 } } }), {}),
    );
    const response = await edge.request('/status');
    expect(await response.text()).not.toContain('ibkr');
  });

  it('leaves out what lies too deep', async () => {
    const deep = `${'{"a":'.repeat(50)}1${'}'.repeat(50)}`;
    const text = JSON.stringify((await statusOf(memoryEdge(bindings, podAnswers(deep, {})))).cluster);
    expect(text).toBe(`${'{"a":'.repeat(16)}null${'}'.repeat(16)}`);
  });
});
