/**
 * The edge: it is set up, the public status says that ticks arrive, a signed tick of ours goes the whole way and is
 * found in the store of the cluster, and the scaler may read its figures.
 */

import { type Credential, createPusher } from '../../replay/pusher.ts';
import type { Batch } from '../../replay/batches.ts';
import { ask, isObject, jsonObject, shown } from '../ask.ts';
import { type Chapter, fail, pass, type Result, skip } from './checks.ts';

/** The symbol of our own tick: one row a run, that analysts can leave out. */
export const PROBE_SYMBOL = 'MDP-VERIFY';
const STATUS_FRESH_SECONDS = 90;

export interface EdgeSite {
  url: string;
  provider: string;
  /** Undefined: no tick is pushed, and `why` says so. */
  credential: Credential | undefined;
  why: string;
  /** Where the tick has to be found again; undefined when no cluster is looked at. */
  clusterUrl: string | undefined;
  scalingToken: string | undefined;
  nowMs: number;
}

export async function checkEdge(site: EdgeSite): Promise<Result[]> {
  const health = await checkHealth(site.url);
  if (health.outcome === 'fail') {
    const rest = ['edge.status', 'edge.probe', 'edge.read-back', 'edge.scaling'] as const;
    return [health, ...rest.map((name) => skip(name, 'the edge is not healthy'))];
  }
  return [health, await checkStatus(site.url), ...(await checkProbe(site)), await checkScaling(site)];
}

async function checkHealth(url: string): Promise<Result> {
  const asked = await ask(`${url}/health`);
  if (!asked.ok) {
    const next = 'Is the Worker deployed under this name? npx wrangler deployments list --env production';
    return fail('edge.health', `${url}: ${asked.why}`, next, 'deploy-the-edge');
  }
  const body = jsonObject(asked.text);
  if (asked.status === 200 && body?.['status'] === 'healthy') return pass('edge.health', asked.text.slice(0, 100));
  const problems = Array.isArray(body?.['problems']) ? body['problems'].join(', ') : undefined;
  if (problems === undefined) {
    const fact = `${asked.status} ${asked.text.slice(0, 100)}`;
    return fail('edge.health', fact, 'Something else than the Worker answers there.', 'deploy-the-edge');
  }
  const next = 'npx wrangler secret put each of these; the Worker’s log says what is wrong with it.';
  return fail('edge.health', `misconfigured: ${problems}`, next, 'deploy-the-edge');
}

async function checkStatus(url: string): Promise<Result> {
  const asked = await ask(`${url}/status`);
  const body = asked.ok ? jsonObject(asked.text) : undefined;
  const { overall, figures, components } = body ?? {};
  if (!isObject(overall) || !isObject(figures)) {
    const fact = asked.ok ? `${asked.status}, no status` : asked.why;
    return fail('edge.status', fact, 'Is the binding STATUS_BOARD there? See wrangler.toml.', 'deploy-the-edge');
  }
  const age = body?.['measuredAgeSeconds'];
  const troubled = (Array.isArray(components) ? components : [])
    .filter(isObject)
    .filter(({ state }) => state !== 'operational')
    .map(({ name, words }) => `${shown(name)}: ${shown(words)}`);
  const words = `${shown(overall['words'])}${troubled.length === 0 ? '' : ` (${troubled.join('; ')})`}`;
  if (overall['state'] === 'unknown' || typeof age !== 'number' || age > STATUS_FRESH_SECONDS) {
    const next =
      'Nothing was measured lately: look again in a minute, then for the alarms of STATUS_BOARD in the Worker’s log.';
    return fail('edge.status', words, next, 'deploy-the-edge');
  }
  if (overall['state'] !== 'operational') {
    return fail(
      'edge.status',
      words,
      'The public sees this too. The other checks say where it comes from.',
      'by-symptom',
    );
  }
  const delay = figures['delayMs'];
  const canary =
    typeof delay === 'number' ? `a tick of its own was stored in ${Math.round(delay)} ms` : 'no tick of its own yet';
  return pass('edge.status', `${words}; ${canary}`);
}

interface Trouble {
  next: string;
  chapter: Chapter;
}

const NOT_TAKEN: Trouble = {
  next: 'The edge holds it, since no pod took it. EDGE_SECRET has to be one of the pods’ MDP_EDGE_SECRETS, and CLUSTER_URL has to lead to them; the Worker’s log says which (cluster-refused-edge, cluster-lost).',
  chapter: 'edgeoutboxold',
};

async function checkProbe(site: EdgeSite): Promise<Result[]> {
  const { url, provider, credential, nowMs } = site;
  if (credential === undefined) {
    return [skip('edge.probe', site.why), skip('edge.read-back', 'no tick was pushed')];
  }
  const pusher = await createPusher({ to: url, provider, credential, connections: 1 });
  const { outcome, answerMs, level } = await pusher.push(probe(nowMs));
  await pusher.close();
  switch (outcome.kind) {
    case 'stored': {
      const { stored, duplicates } = outcome.answer;
      if (stored + duplicates !== 1) {
        return notStored('the answer counts no tick', { next: 'Look at the dead letters.', chapter: 'by-symptom' });
      }
      const fact = `${provider}: stored in ${Math.round(answerMs)} ms, level ${level ?? 'unknown'}`;
      return [pass('edge.probe', fact), await checkReadBack(site)];
    }
    case 'buffered':
      return notStored('202, buffered: accepted, and not in the store', NOT_TAKEN);
    case 'refused': {
      const next = 'Look at the level and the store; then again, under --wait.';
      return notStored(`${outcome.status} ${outcome.problem}`, { next, chapter: 'by-symptom' });
    }
    case 'failed': {
      const mine = outcome.status === 401 || outcome.status === 403;
      const next = mine
        ? `These are no credentials of ${provider} in PROVIDER_CREDENTIALS of this edge.`
        : 'The tick itself was not taken: is the version of edge and pods the same?';
      return notStored(`${outcome.status} ${outcome.problem}: ${outcome.detail}`, { next, chapter: 'deploy-the-edge' });
    }
    case 'unclear':
      return notStored(outcome.why, { next: 'The edge gave no answer: its log says why.', chapter: 'deploy-the-edge' });
  }
}

function notStored(fact: string, { next, chapter }: Trouble): Result[] {
  return [fail('edge.probe', fact, next, chapter), skip('edge.read-back', 'the tick was not stored')];
}

/** One trade of now, under an id of its own. */
function probe(nowMs: number): Batch {
  const tick = { type: 'trade', symbol: PROBE_SYMBOL, tsMs: nowMs, id: probeId(nowMs), price: '1', size: '0' };
  return { id: `mdp-verify-${nowMs}`, ticks: 1, body: new TextEncoder().encode(JSON.stringify(tick)), dueMs: nowMs };
}

function probeId(nowMs: number): string {
  return `verify-${nowMs}`;
}

async function checkReadBack({ clusterUrl, provider, nowMs }: EdgeSite): Promise<Result> {
  if (clusterUrl === undefined) return skip('edge.read-back', 'no pod is looked at');
  const from = new Date(nowMs).toISOString();
  const asked = await ask(`${clusterUrl}/v1/trades/${provider}/${PROBE_SYMBOL}?from=${from}&limit=100`);
  const trades = asked.ok ? jsonObject(asked.text)?.['trades'] : undefined;
  if (!Array.isArray(trades)) {
    return fail('edge.read-back', asked.ok ? `${asked.status}` : asked.why, 'Read the pod’s log.', 'by-symptom');
  }
  const found = trades.filter(isObject).find(({ id }) => id === probeId(nowMs));
  if (found !== undefined)
    return pass('edge.read-back', `stored by ${shown(found['pod'])} at ${shown(found['storedAt'])}`);
  const next =
    'The edge pushes to another cluster, or the pods do not share their store: compare CLUSTER_URL of the Worker and MDP_STORE of the pods.';
  return fail('edge.read-back', `the pod’s store has no such tick`, next, 'deploy-the-edge');
}

async function checkScaling({ url, scalingToken }: EdgeSite): Promise<Result> {
  if (scalingToken === undefined) {
    return skip('edge.scaling', 'no token: give --scaling-token, or SCALING_TOKEN in the environment');
  }
  const asked = await ask(`${url}/v1/scaling`, { headers: { authorization: `Bearer ${scalingToken}` } });
  if (!asked.ok) return fail('edge.scaling', asked.why, 'Read the Worker’s log.', 'pipelineedgenotscraped');
  const total = jsonObject(asked.text)?.['total'];
  if (asked.status === 200 && isObject(total)) {
    const shown = Object.entries(total).map(([name, value]) => `${name} ${Number(Number(value).toPrecision(6))}`);
    return pass('edge.scaling', shown.join(', '));
  }
  const next =
    asked.status === 404
      ? 'The Worker has no SCALING_TOKEN: npx wrangler secret put SCALING_TOKEN --env production.'
      : asked.status === 401
        ? 'SCALING_TOKEN of the Worker and scaling-token of the Secret have to be the same.'
        : 'Is the binding METER there? See wrangler.toml.';
  return fail('edge.scaling', `${asked.status}`, next, 'pipelineedgenotscraped');
}
