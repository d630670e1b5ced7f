/**
 * The board in real workerd with its SQLite on disk, before a real pod with a real store: each fault injected, shown
 * within 60 s of the board's own time and gone again after it; killed and started again. All intervals are a tenth.
 */

import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { freePorts } from '../../../deploy/local/free-ports.ts';
import { type RunningPod, startPod } from '../../../deploy/local/pod.ts';
import { generateSecret } from '../../../pipeline/contract/signature.ts';
import { CANARY_PROVIDER } from '../../../worker/status/canary.ts';
import { PACE } from '../../../worker/status/pace.ts';
import { Gate } from '../../support/gate.ts';
import { StatusEdge } from '../../support/status-edge.ts';
import { WriteLock } from '../../support/stored-ticks.ts';

const PACE_SHARE = 0.1;
/** A fault is shown within 60 s of the board's time. */
const SHOWN = { timeout: 60_000 * PACE_SHARE, interval: 50 };
const ALL_WELL = 'edge:operational cluster:operational store:operational provider-ibkr:operational';

let directory = '';
let edgeSecret = '';
let pod: RunningPod;
let gate: Gate;
let edge: StatusEdge;
let sends = true;
let sender: NodeJS.Timeout;

function runPod(port: number): Promise<RunningPod> {
  const store = `sqlite:${join(directory, 'ticks.db')}`;
  return startPod({ settings: { MDP_PORT: String(port), MDP_STORE: store, MDP_EDGE_SECRETS: edgeSecret } });
}

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'mdp-board-'));
  edgeSecret = generateSecret();
  const [port] = (await freePorts(1)) as [number]; // it is its own also while the pod is dead
  pod = await runPod(port);
  gate = await Gate.before(pod.port);
  edge = await StatusEdge.start({ clusterUrl: gate.url, edgeSecret, paceShare: PACE_SHARE, providers: '["ibkr"]' });
  sender = setInterval(() => sends && void edge.note('ibkr', 'stored').catch(() => undefined), 250);
});

afterAll(async () => {
  clearInterval(sender);
  await edge?.[Symbol.asyncDispose]();
  await gate?.[Symbol.asyncDispose]();
  await pod?.stop();
  await rm(directory, { recursive: true, force: true });
});

const states = (): Promise<string> => edge.states();

async function incidents(): Promise<{ id: string; name: string; status: string }[]> {
  const answer = await fetch(`${edge.url}/api/v2/incidents.json`);
  return ((await answer.json()) as { incidents: { id: string; name: string; status: string }[] }).incidents;
}

async function openIncidents(): Promise<string[]> {
  return (await incidents()).filter(({ status }) => status === 'identified').map(({ name }) => name);
}

describe('a system that has just started', () => {
  it('is found well within 60 s of its first visit', async () => {
    await expect.poll(states, SHOWN).toBe(ALL_WELL);
    const greenSeen = watchForGreen();
    await new Promise((resolve) => setTimeout(resolve, 400));
    expect(await greenSeen()).toBeGreaterThan(0);
  });
});

/** From here to its end, a page that says that all is well is wrong: looks at it all the time, and says how often it did. */
function watchForGreen(): () => Promise<number> {
  let green = 0;
  const over = new AbortController();
  const looking = (async () => {
    while (!over.signal.aborted) {
      const page = await (await fetch(`${edge.url}/`)).text();
      if (/<h1 id="overall"[^>]*>.*All systems work/.test(page)) green += 1;
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  })();
  looking.catch(() => undefined); // it is told when the count is asked for
  return async () => {
    over.abort();
    await looking;
    return green;
  };
}

describe('a fault', { timeout: 60_000 }, () => {
  it('that is a dead pod is shown within 60 s and gone after its restart', async () => {
    await pod.kill();
    await expect.poll(states, SHOWN).toMatch(/cluster:(degraded|outage)/);
    const greenSeen = watchForGreen();
    await expect.poll(states, SHOWN).toMatch(/cluster:outage store:unknown/);
    expect(await greenSeen()).toBe(0);
    expect((await edge.status()).overall.state).toBe('outage');
    expect(await openIncidents()).toEqual(['Cluster: no answer']);
    pod = await runPod(pod.port);
    await expect.poll(states, SHOWN).toBe(ALL_WELL);
  });

  it('that is an unreachable cluster is shown within 60 s and gone after it', async () => {
    gate.shut = true;
    await expect.poll(states, SHOWN).toMatch(/cluster:(degraded|outage)/);
    const greenSeen = watchForGreen();
    // Over a beat.
    await new Promise((resolve) => setTimeout(resolve, PACE.beatMs * PACE_SHARE));
    expect(await greenSeen()).toBe(0);
    gate.shut = false;
    await expect.poll(states, SHOWN).toBe(ALL_WELL);
  });

  it('that is a store that takes no writes is shown within 60 s and gone after it', async () => {
    using lock = new WriteLock(join(directory, 'ticks.db'));
    await expect.poll(states, SHOWN).toMatch(/store:(degraded|outage)/);
    const greenSeen = watchForGreen();
    await expect.poll(states, SHOWN).toMatch(/store:outage/);
    expect(await greenSeen()).toBe(0);
    lock.letGo();
    await expect.poll(states, SHOWN).toBe(ALL_WELL);
  });

  it('that is a slow store is shown within 60 s as degraded and gone after it', async () => {
    // From the canary's arrival on, no write is committed for 450 ms: more than "slow" (200), less than "late" (800).
    gate.onData = (text) => {
      if (!text.includes(`/v1/ticks/${CANARY_PROVIDER} `)) return;
      const lock = new WriteLock(join(directory, 'ticks.db'));
      setTimeout(() => lock[Symbol.dispose](), 450);
    };
    try {
      await expect.poll(states, SHOWN).toMatch(/cluster:operational store:degraded/);
      const greenSeen = watchForGreen();
      await new Promise((resolve) => setTimeout(resolve, PACE.beatMs * PACE_SHARE));
      expect(await greenSeen()).toBe(0);
      expect((await edge.status()).figures.delayMs).toBeGreaterThanOrEqual(PACE.canarySlowMs * PACE_SHARE);
    } finally {
      gate.onData = () => {};
    }
    await expect.poll(states, SHOWN).toBe(ALL_WELL);
  });

  it('that is a silent provider is shown within 60 s, as that provider alone, and gone when it sends again', async () => {
    sends = false;
    try {
      await expect
        .poll(states, SHOWN)
        .toBe('edge:operational cluster:operational store:operational provider-ibkr:degraded');
      expect((await edge.status()).overall).toMatchObject({ state: 'degraded' });
      const greenSeen = watchForGreen();
      const options = { timeout: SHOWN.timeout + PACE.openAfterMs * PACE_SHARE };
      await expect.poll(openIncidents, options).toEqual(['ibkr: no ticks']);
      expect(await greenSeen()).toBe(0);
    } finally {
      sends = true;
    }
    await expect.poll(states, SHOWN).toBe(ALL_WELL);
  });

  it('that are refusals to senders is shown within 60 s and gone after them', async () => {
    const refusals = setInterval(() => void edge.note('ibkr', 'refused').catch(() => undefined), 50);
    await expect.poll(states, SHOWN).toMatch(/edge:(degraded|outage)/);
    clearInterval(refusals);
    // Refusals are summed over a minute, in stretches of 5 s that are no tenth.
    await expect.poll(states, { ...SHOWN, timeout: 2 * SHOWN.timeout }).toBe(ALL_WELL);
  });
});

describe('the board', { timeout: 30_000 }, () => {
  it('closes every incident a minute after its end, and has one for each component that was in trouble', async () => {
    await expect.poll(openOrWatched, { timeout: SHOWN.timeout + PACE.closeAfterMs * PACE_SHARE }).toEqual([]);
    const components = (await incidents()).map(({ name }) => name.split(':')[0]!);
    expect([...new Set(components)].toSorted()).toEqual(['Cluster', 'Edge intake', 'Store', 'ibkr']);
  });

  it('counts the ticks that isolates report', async () => {
    const { figures } = await edge.status();
    expect(figures.ticksPerSecond).toBeGreaterThan(50);
    expect(figures.delayMs).toBeGreaterThanOrEqual(0);
    expect(figures).toMatchObject({ level: 'ok', backlogTicks: 0 });
  });

  it('keeps its incidents through a SIGKILL, and goes on by itself, without a visit', async () => {
    sends = false;
    const before = await incidents();
    await edge.kill();
    const killedMs = Date.now();
    await edge.run();
    await new Promise((resolve) => setTimeout(resolve, 4 * PACE.beatMs * PACE_SHARE));
    const { measuredAsOf } = await edge.status();
    expect(Date.parse(measuredAsOf!)).toBeGreaterThan(killedMs);
    const after = new Set((await incidents()).map(({ id }) => id));
    expect(before.filter(({ id }) => !after.has(id))).toEqual([]);
    sends = true;
  });

  it('tells of 90 s of its own silence afterwards', async () => {
    sends = false;
    await edge.kill();
    await new Promise((resolve) => setTimeout(resolve, (PACE.staleMs + 5_000) * PACE_SHARE));
    await edge.run();
    sends = true;
    await expect.poll(states, SHOWN).toBe(ALL_WELL);
    expect((await incidents()).map(({ name }) => name)).toContain('Status page: not measured');
  });

  it('does not stop at exceptions: with every second request of its own broken it goes on', async () => {
    await using faulty = await StatusEdge.start({ clusterUrl: gate.url, edgeSecret, paceShare: 0.02, faulty: true });
    const beats = new Set<string>();
    const seen = async (): Promise<number> => {
      const { measuredAsOf } = await faulty.status();
      if (measuredAsOf !== null) beats.add(measuredAsOf);
      return beats.size;
    };
    await expect.poll(seen, { timeout: 15_000, interval: 50 }).toBeGreaterThan(8);
    expect(faulty.log).toContain('status-beat-failed');
  });
});

async function openOrWatched(): Promise<string[]> {
  return (await edge.status()).incidents.map(({ cause }) => cause);
}
