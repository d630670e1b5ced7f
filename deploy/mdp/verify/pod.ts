/**
 * Step 3 of the guide: a pod is alive and ready, and its gauges are there, true and not stale. What they show is
 * compared with `/status` before and after, which the pod makes from its running parts.
 */

import { setTimeout as sleep } from 'node:timers/promises';
import { LEVEL_NUMBER, type Level, RATE_SCALE } from '../../../pipeline/contract/level.ts';
import { ask, jsonObject, shown } from '../ask.ts';
import { type Family, parseExposition } from '../exposition.ts';
import { type PodStatus, readPodStatus } from '../pod-status.ts';
import { type Chapter, fail, pass, type Result, skip } from './checks.ts';

const SERVICE = 'market-data-pipeline';
/** A busy queue moves between two looks; a stale gauge is off at each of them. */
const LOOKS = 5;
const LOOK_PAUSE_MS = 100;

/** The guide's three gauges, and the label that each series of them needs. */
export const GAUGES = {
  pipeline_rate_scale_factor: 'provider',
  pipeline_backpressure_state: 'provider',
  pipeline_feedback_queue_depth: 'source',
} as const;
const OWN_QUEUE = 'store_coordinator';

type Families = ReadonlyMap<string, Family>;

interface Look {
  before: PodStatus;
  families: Families;
  after: PodStatus;
}

export async function checkPod(url: string): Promise<Result[]> {
  const health = await checkHealth(url);
  if (health.unreachable) {
    const why = 'the pod does not answer';
    const others = ['ready', 'metrics', 'depth', 'state', 'rate-scale', 'level', 'books'] as const;
    return [health.result, ...others.map((name) => skip(`pod.${name}`, why))];
  }
  const results = [health.result, await checkReady(url)];
  const first = await look(url);
  if ('why' in first) {
    results.push(fail('pod.metrics', first.why, 'Read its log: /metrics and /status are always there.', 'verify'));
    const others = ['depth', 'state', 'rate-scale', 'level', 'books'] as const;
    return [...results, ...others.map((name) => skip(`pod.${name}`, '/metrics and /status cannot be read'))];
  }
  return [
    ...results,
    checkGauges(first),
    await checkDepth(url, first),
    checkState(first),
    checkRateScale(first),
    checkLevel(first.after),
    checkBooks(first),
  ];
}

async function checkHealth(url: string): Promise<{ result: Result; unreachable: boolean }> {
  const asked = await ask(`${url}/health`);
  if (!asked.ok) {
    const next = 'Is the port-forward up, and the pod? kubectl -n market-data get pods -l app=mdp-pipeline';
    return { result: fail('pod.health', `${url}: ${asked.why}`, next, 'verify'), unreachable: true };
  }
  const body = jsonObject(asked.text);
  const healthy = asked.status === 200 && body?.['status'] === 'healthy' && body['service'] === SERVICE;
  const fact = `${asked.status} ${asked.text.slice(0, 100)}`;
  const next = `Something else than a pod answers at ${url}: look where the port leads to.`;
  return { result: healthy ? pass('pod.health', fact) : fail('pod.health', fact, next, 'verify'), unreachable: false };
}

const NOT_READY: Readonly<Record<string, { next: string; chapter: Chapter }>> = {
  store: {
    next: 'The pod has no store: bring the store back, or mend the pod’s way to it. Nobody has to restart the pod.',
    chapter: 'pipelinestorecircuitopen',
  },
  starting: { next: 'It is opening its store: look again in a few seconds, then read its log.', chapter: 'by-symptom' },
  draining: { next: 'This pod is ending: ask the one that follows.', chapter: 'verify' },
};

async function checkReady(url: string): Promise<Result> {
  const asked = await ask(`${url}/ready`);
  if (!asked.ok) return fail('pod.ready', asked.why, 'Read its log.', 'by-symptom');
  if (asked.status === 200) return pass('pod.ready', `${asked.status} ${asked.text.slice(0, 100)}`);
  const reason = jsonObject(asked.text)?.['reason'];
  const known = NOT_READY[shown(reason)];
  const fact =
    known === undefined ? `${asked.status} ${asked.text.slice(0, 100)}` : `${asked.status}, reason: ${shown(reason)}`;
  return fail('pod.ready', fact, known?.next ?? 'Read its log.', known?.chapter ?? 'by-symptom');
}

async function look(url: string): Promise<Look | { why: string }> {
  const before = await askStatus(url);
  const metrics = await ask(`${url}/metrics`);
  const after = await askStatus(url);
  if (before === undefined || after === undefined) return { why: '/status is not that of a pod' };
  if (!metrics.ok) return { why: `/metrics: ${metrics.why}` };
  if (metrics.status !== 200) return { why: `/metrics answers ${metrics.status}` };
  try {
    return { before, families: parseExposition(metrics.text), after };
  } catch (error) {
    return { why: `/metrics cannot be parsed: ${error instanceof Error ? error.message : String(error)}` };
  }
}

async function askStatus(url: string): Promise<PodStatus | undefined> {
  const asked = await ask(`${url}/status`);
  return asked.ok ? readPodStatus(asked.text) : undefined;
}

function checkGauges({ families }: Look): Result {
  const wrong = Object.entries(GAUGES).flatMap(([name, label]) => {
    const family = families.get(name);
    if (family === undefined) return [`${name} is missing`];
    if (family.type !== 'gauge') return [`${name} is a ${family.type}`];
    const labelled = family.samples.filter(({ labels, value }) => label in labels && Number.isFinite(value));
    return labelled.length === 0 ? [`${name} has no value with ${label}`] : [];
  });
  if (depthOf(families) === undefined && wrong.length === 0) wrong.push(`no depth with source="${OWN_QUEUE}"`);
  if (wrong.length === 0) return pass('pod.metrics', 'all three with HELP, TYPE and value');
  const next =
    'This is another version, or not a pod: compare the image with the one you built. Scaling, dashboards and alerts go by these names.';
  return fail('pod.metrics', wrong.join('; '), next, 'verify');
}

async function checkDepth(url: string, first: Look): Promise<Result> {
  let seen = '';
  for (let number = 0, next: Look | { why: string } = first; number < LOOKS; number += 1) {
    if (number > 0) {
      await sleep(LOOK_PAUSE_MS);
      next = await look(url);
    }
    if ('why' in next) continue;
    const { before, after } = next;
    const depth = depthOf(next.families);
    if (depth === undefined) return skip('pod.depth', 'the gauge has no value');
    const least = Math.min(before.depthTicks, after.depthTicks);
    const most = Math.max(before.depthTicks, after.depthTicks);
    if (depth >= least && depth <= most) return pass('pod.depth', `${depth} of ${after.capacityTicks} ticks`);
    seen = `the gauge says ${depth}, /status says ${least === most ? least : `${least} to ${most}`}`;
  }
  const next = 'The gauge is stale or not this pod’s: keep /status and the log, then replace the pod.';
  return fail('pod.depth', `${seen}, ${LOOKS} looks in a row`, next, 'pipelinelevelstale');
}

function depthOf(families: Families): number | undefined {
  return families.get('pipeline_feedback_queue_depth')?.samples.find(({ labels }) => labels['source'] === OWN_QUEUE)
    ?.value;
}

/** The providers whose level is the same before and after: the gauge in between has to say so too. */
function steadyProviders({ before, after }: Look): [name: string, level: Level][] {
  return [...before.providers].flatMap(([name, { level }]) =>
    after.providers.get(name)?.level === level ? [[name, level]] : [],
  );
}

function valuesByProvider(families: Families, metric: string): Map<string, number> {
  const samples = families.get(metric)?.samples ?? [];
  return new Map(samples.map(({ labels, value }) => [labels['provider'] ?? '', value]));
}

function checkState(seen: Look): Result {
  const shown = valuesByProvider(seen.families, 'pipeline_backpressure_state');
  if (shown.size === 0) return skip('pod.state', 'the gauge has no value');
  const wrong = steadyProviders(seen).flatMap(([name, level]) => {
    const state = shown.get(name);
    return state === LEVEL_NUMBER[level]
      ? []
      : [`${name}: the gauge says ${state ?? 'nothing'}, the level is ${level}`];
  });
  if (wrong.length === 0) return pass('pod.state', listed(shown));
  return fail('pod.state', wrong.join('; '), 'Keep /status and the log, then replace the pod.', 'pipelinelevelstale');
}

function checkRateScale(seen: Look): Result {
  const shown = valuesByProvider(seen.families, 'pipeline_rate_scale_factor');
  if (shown.size === 0) return skip('pod.rate-scale', 'the gauge has no value');
  const { after } = seen;
  const wrong = steadyProviders(seen).flatMap(([name, level]) => {
    // Scales may be set otherwise (MDP_FB_SCALE_…); what /status tells is the one of the pod's own level.
    const expected = level === after.level ? after.rateScale : level === 'ok' ? RATE_SCALE.ok : undefined;
    const scale = shown.get(name);
    if (scale === undefined) return [`${name} has none`];
    return expected === undefined || scale === expected
      ? []
      : [`${name}: ${scale} at level ${level}, which has ${expected}`];
  });
  if (wrong.length > 0) {
    const next = 'The scale is stuck: keep /status and the log, then replace the pod.';
    return fail('pod.rate-scale', wrong.join('; '), next, 'pipelinelevelstale');
  }
  if (after.level === 'ok' && after.rateScale !== RATE_SCALE.ok) {
    const next = 'MDP_FB_SCALE_OK slows everybody down all the time: take it out.';
    return fail('pod.rate-scale', `${after.rateScale} at level ok`, next, 'pipelineratescalelow');
  }
  return pass('pod.rate-scale', listed(shown));
}

const LEVEL_CHAPTERS: Readonly<Record<string, Chapter>> = {
  queue: 'pipelinequeuehigh',
  store: 'pipelinestorecircuitopen',
};

function checkLevel(status: PodStatus): Result {
  if (status.level === 'ok') return pass('pod.level', 'level ok');
  const reasons = Object.entries(status.reasons).filter(([, level]) => level !== 'ok');
  const why = reasons.map(([reason, level]) => `${reason} ${level}`).join(', ');
  if (reasons.length === 0) {
    const next = 'A level without a reason is stuck: keep /status and the log, then replace the pod.';
    return fail('pod.level', `level ${status.level}, without a reason`, next, 'pipelinelevelstale');
  }
  const chapter = LEVEL_CHAPTERS[reasons[0]![0]] ?? 'pipelinehardbackpressure';
  return fail('pod.level', `level ${status.level}: ${why}`, 'End the reason; the level heals by itself.', chapter);
}

function checkBooks({ families, after }: Look): Result {
  const shown = valuesByProvider(families, 'pipeline_balance_residue_ticks');
  const off = [...shown, ...[...after.providers].map(([name, { residue }]) => [name, residue] as const)];
  const wrong = new Map(off.filter(([, residue]) => residue !== 0));
  if (wrong.size === 0) return pass('pod.books', `residue 0 for ${after.providers.size} providers`);
  const next = 'A defect: stop a rollout that is under way, keep log and /status, report it.';
  return fail('pod.books', `residue ${listed(wrong)}`, next, 'pipelinebooksresidue');
}

function listed(values: ReadonlyMap<string, number>): string {
  return [...values].map(([name, value]) => `${name} ${value}`).join(', ');
}
