/** What the checks ask of a Prometheus, or of what speaks its API. Source: Prometheus HTTP API, v1. */

import { ask, isObject, jsonObject } from '../ask.ts';

export interface Sample {
  labels: Readonly<Record<string, string>>;
  value: number;
}

export interface AlertRule {
  name: string;
  expression: string;
  health: string;
  lastError: string;
}

/** It did not answer, or has something against the question; the message is Prometheus' own. */
export class PrometheusError extends Error {
  override name = 'PrometheusError';
}

export class PrometheusApi {
  readonly #url: string;

  constructor(url: string) {
    this.#url = url;
  }

  /** An instant query; a scalar is one sample without labels. */
  async query(expression: string): Promise<Sample[]> {
    const body = new URLSearchParams({ query: expression }).toString();
    const headers = { 'content-type': 'application/x-www-form-urlencoded' };
    const data = await this.#ask('/api/v1/query', { method: 'POST', headers, body });
    if (!isObject(data) || !Array.isArray(data['result'])) throw new PrometheusError('an answer without a result');
    if (data['resultType'] === 'scalar') return [{ labels: {}, value: numberOf(data['result'][1]) }];
    return data['result'].filter(isObject).map(({ metric, value }) => ({
      labels: isObject(metric) ? (metric as Record<string, string>) : {},
      value: numberOf(Array.isArray(value) ? value[1] : undefined),
    }));
  }

  /** Every name that any series has. */
  async metricNames(): Promise<Set<string>> {
    const data = await this.#ask('/api/v1/label/__name__/values');
    return new Set(Array.isArray(data) ? data.filter((name) => typeof name === 'string') : []);
  }

  /** The families that targets declare, those among them that have no series yet. */
  async families(): Promise<Set<string>> {
    const data = await this.#ask('/api/v1/metadata');
    return new Set(isObject(data) ? Object.keys(data) : []);
  }

  /** Alerting rules, and the names that recording rules write. */
  async rules(): Promise<{ alerts: AlertRule[]; recorded: Set<string> }> {
    const data = await this.#ask('/api/v1/rules');
    const groups = isObject(data) && Array.isArray(data['groups']) ? data['groups'].filter(isObject) : [];
    const rules = groups.flatMap((group) => (Array.isArray(group['rules']) ? group['rules'].filter(isObject) : []));
    const alerts = rules
      .filter(({ type }) => type === 'alerting')
      .map((rule) => ({
        name: textOf(rule['name']),
        expression: textOf(rule['query']),
        health: textOf(rule['health']),
        lastError: textOf(rule['lastError']),
      }));
    const recorded = rules.filter(({ type }) => type === 'recording').map((rule) => textOf(rule['name']));
    return { alerts, recorded: new Set(recorded) };
  }

  /** Why a target could not be scraped; undefined when Prometheus does not tell. */
  async lastScrapeError(instance: string): Promise<string | undefined> {
    const data = await this.#ask('/api/v1/targets?state=active');
    const targets =
      isObject(data) && Array.isArray(data['activeTargets']) ? data['activeTargets'].filter(isObject) : [];
    const target = targets.find(({ labels }) => isObject(labels) && labels['instance'] === instance);
    return typeof target?.['lastError'] === 'string' ? target['lastError'] : undefined;
  }

  async #ask(path: string, question?: Parameters<typeof ask>[1]): Promise<unknown> {
    const asked = await ask(this.#url + path, question);
    if (!asked.ok) throw new PrometheusError(asked.why);
    const body = jsonObject(asked.text);
    if (body?.['status'] === 'success') return body['data'];
    const error = body?.['error'];
    throw new PrometheusError(typeof error === 'string' ? error : `it answers ${asked.status}, and not as Prometheus`);
  }
}

function numberOf(value: unknown): number {
  return typeof value === 'string' ? Number(value.replace('+', '').replace('Inf', 'Infinity')) : Number.NaN;
}

function textOf(value: unknown): string {
  return typeof value === 'string' ? value : '';
}
