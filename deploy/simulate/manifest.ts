/**
 * A ScaledObject as a user applies it, read once and checked: what the simulation would have to guess is an error.
 * Knows the fields of keda.sh/v1alpha1, not where the text came from.
 */

import { BEHAVIOR_DEFAULT, type Behavior, type Policy, type Rules } from './hpa.ts';
import { type Formula, parseFormula } from './formula.ts';
import { metricsOf, parsePromql, type PromNode } from './promql-parse.ts';
import { type CronWindow, parseCronWindow } from './cron.ts';
import { type EdgeFigure, parseMetricsApi } from './metrics-api.ts';

export interface Trigger {
  name: string;
  metricType: 'AverageValue' | 'Value';
  threshold: number;
  source:
    | { kind: 'prometheus'; query: PromNode; queryText: string; isEmptyZero: boolean }
    | { kind: 'metrics-api'; figure: EdgeFigure }
    | { kind: 'cron'; window: CronWindow; desiredReplicas: number };
}

export interface Fallback {
  failureThreshold: number;
  replicas: number;
  behavior: 'static' | 'currentReplicas' | 'currentReplicasIfHigher' | 'currentReplicasIfLower';
}

export interface Scaler {
  name: string;
  min: number;
  max: number;
  triggers: readonly Trigger[];
  /** Undefined: each trigger is a metric of its own. */
  composite: { formula: Formula; target: number; metricType: 'AverageValue' | 'Value' } | undefined;
  /** Undefined also where KEDA would silently not apply it. */
  fallback: Fallback | undefined;
  behavior: Behavior | undefined;
}

type Fields = Readonly<Record<string, unknown>>;

/** Source: `kubectl explain scaledobject.spec`. */
const MAX_DEFAULT = 100;
const COOLED_BY_NOBODY = new Set(['cooldownPeriod', 'pollingInterval']);
const SPEC_FIELDS = new Set([
  'scaleTargetRef',
  'minReplicaCount',
  'maxReplicaCount',
  'advanced',
  'fallback',
  'triggers',
  ...COOLED_BY_NOBODY,
]);

/** Reads one ScaledObject; `metrics` are the names that can be simulated. Throws with what is wrong and where. */
export function readScaler(manifest: unknown, metrics: ReadonlySet<string>): Scaler {
  const object = fields(manifest, 'the manifest');
  if (object['kind'] !== 'ScaledObject') throw new Error(`a ScaledObject is needed, not a ${String(object['kind'])}`);
  const name = String(fields(object['metadata'], 'metadata')['name']);
  const spec = fields(object['spec'], 'spec');
  for (const field of Object.keys(spec))
    if (!SPEC_FIELDS.has(field)) throw new Error(`spec.${field} is not known here`);
  const advanced = fields(spec['advanced'] ?? {}, 'spec.advanced');
  const composite = readComposite(advanced['scalingModifiers']);
  if (!Array.isArray(spec['triggers'])) throw new Error('spec.triggers must be a list');
  const triggers = spec['triggers'].map((trigger, at) => readTrigger(trigger, `spec.triggers[${at}]`, metrics));
  if (composite !== undefined) checkNames(composite.formula, triggers);
  const isIntegerTarget = composite === undefined || Number.isInteger(composite.target);
  const isAverage = composite === undefined || composite.metricType === 'AverageValue';
  return {
    name,
    min: Math.max(1, number(spec['minReplicaCount'] ?? 0, 'spec.minReplicaCount')),
    max: number(spec['maxReplicaCount'] ?? MAX_DEFAULT, 'spec.maxReplicaCount'),
    triggers,
    composite,
    fallback: isIntegerTarget && isAverage ? readFallback(spec['fallback']) : undefined,
    behavior: readBehavior(advanced['horizontalPodAutoscalerConfig']),
  };
}

function readComposite(modifiers: unknown): Scaler['composite'] {
  if (modifiers === undefined) return undefined;
  const { formula, target, metricType = 'AverageValue' } = fields(modifiers, 'spec.advanced.scalingModifiers');
  if (metricType !== 'AverageValue' && metricType !== 'Value') throw new Error(`metricType ${String(metricType)}`);
  return {
    formula: parseFormula(text(formula, 'scalingModifiers.formula')),
    target: number(Number(target), 'scalingModifiers.target'),
    metricType,
  };
}

function checkNames(formula: Formula, triggers: readonly Trigger[]): void {
  const named = triggers.map(({ name }) => name);
  if (named.includes('')) throw new Error('with scalingModifiers every trigger needs a name');
  if (new Set(named).size < named.length) throw new Error(`trigger names repeat: ${named.join(', ')}`);
  const unknown = formula.names.filter((name) => !named.includes(name));
  if (unknown.length > 0) throw new Error(`the formula names no trigger with ${unknown.join(', ')}`);
}

function readTrigger(trigger: unknown, where: string, metrics: ReadonlySet<string>): Trigger {
  const given = fields(trigger, where);
  const { type, name = '', metricType = 'AverageValue', metadata, authenticationRef } = given;
  const meta = fields(metadata, `${where}.metadata`);
  if (metricType !== 'AverageValue' && metricType !== 'Value') throw new Error(`${where}.metricType is not known here`);
  // It would answer the HPA with what KEDA had read before.
  if (given['useCachedMetrics'] === true) throw new Error(`${where}.useCachedMetrics is not known here`);
  const shared = { name: text(name, `${where}.name`), metricType } as const;
  if (type === 'cron') {
    const desiredReplicas = number(Number(meta['desiredReplicas']), `${where}.metadata.desiredReplicas`);
    return { ...shared, threshold: 1, source: { kind: 'cron', window: parseCronWindow(meta, where), desiredReplicas } };
  }
  if (type === 'metrics-api') {
    const figure = parseMetricsApi(meta, authenticationRef, where);
    const threshold = number(Number(meta['targetValue']), `${where}.metadata.targetValue`);
    return { ...shared, threshold, source: { kind: 'metrics-api', figure } };
  }
  if (type !== 'prometheus') throw new Error(`${where}: a trigger of type ${String(type)} is not known here`);
  const queryText = text(meta['query'], `${where}.metadata.query`);
  const query = parsePromql(queryText);
  const unknown = metricsOf(query).filter((metric) => !metrics.has(metric));
  if (unknown.length > 0) {
    throw new Error(
      `${where}: the query "${queryText.trim()}" reads ${unknown.join(', ')}, which nothing here exposes`,
    );
  }
  return {
    ...shared,
    threshold: number(Number(meta['threshold']), `${where}.metadata.threshold`),
    source: { kind: 'prometheus', query, queryText, isEmptyZero: meta['ignoreNullValues'] !== 'false' },
  };
}

const FALLBACK_BEHAVIORS = ['static', 'currentReplicas', 'currentReplicasIfHigher', 'currentReplicasIfLower'] as const;

function readFallback(fallback: unknown): Fallback | undefined {
  if (fallback === undefined) return undefined;
  const { failureThreshold, replicas, behavior = 'static' } = fields(fallback, 'spec.fallback');
  const known = FALLBACK_BEHAVIORS.find((name) => name === behavior);
  if (known === undefined) throw new Error(`spec.fallback.behavior ${String(behavior)} is not known here`);
  return {
    failureThreshold: number(failureThreshold, 'spec.fallback.failureThreshold'),
    replicas: number(replicas, 'spec.fallback.replicas'),
    behavior: known,
  };
}

function readBehavior(config: unknown): Behavior | undefined {
  const { behavior } = fields(config ?? {}, 'horizontalPodAutoscalerConfig');
  if (behavior === undefined) return undefined;
  const { scaleUp, scaleDown } = fields(behavior, 'behavior');
  return {
    scaleUp: readRules(scaleUp, BEHAVIOR_DEFAULT.scaleUp, 'behavior.scaleUp'),
    scaleDown: readRules(scaleDown, BEHAVIOR_DEFAULT.scaleDown, 'behavior.scaleDown'),
  };
}

/** What is not given is the API's default of that direction. */
function readRules(rules: unknown, fallback: Rules, where: string): Rules {
  if (rules === undefined) return fallback;
  const given = fields(rules, where);
  const select = given['selectPolicy'] ?? fallback.selectPolicy;
  if (select !== 'Max' && select !== 'Min' && select !== 'Disabled') throw new Error(`${where}.selectPolicy`);
  const policies = given['policies'];
  return {
    stabilizationWindowSeconds: number(
      given['stabilizationWindowSeconds'] ?? fallback.stabilizationWindowSeconds,
      `${where}.stabilizationWindowSeconds`,
    ),
    selectPolicy: select,
    tolerance: number(Number(given['tolerance'] ?? fallback.tolerance), `${where}.tolerance`),
    policies: Array.isArray(policies) ? policies.map((policy) => readPolicy(policy, where)) : fallback.policies,
  };
}

function readPolicy(policy: unknown, where: string): Policy {
  const { type, value, periodSeconds } = fields(policy, `${where}.policies`);
  if (type !== 'Pods' && type !== 'Percent') throw new Error(`${where}: a policy of type ${String(type)}`);
  return {
    type,
    value: number(value, `${where} value`),
    periodSeconds: number(periodSeconds, `${where} periodSeconds`),
  };
}

/** The metrics that its queries read. */
export function metricsRead({ triggers }: Scaler): string[] {
  return triggers.flatMap(({ source }) => (source.kind === 'prometheus' ? metricsOf(source.query) : []));
}

export function fields(value: unknown, where: string): Fields {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Fields;
  throw new Error(`${where} must be a mapping`);
}

export function text(value: unknown, where: string): string {
  if (typeof value === 'string') return value;
  throw new Error(`${where} must be a text`);
}

function number(value: unknown, where: string): number {
  if (typeof value === 'number' && Number.isFinite(value) && value >= 0) return value;
  throw new Error(`${where} must be a number of 0 or more`);
}
