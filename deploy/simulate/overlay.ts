/**
 * Finds manifests where they are: in a file, or in a Kustomize folder with its bases and patches. It applies patches
 * to custom resources as Kustomize does (JSON merge and JSON patch); a test holds the two together.
 */

import { existsSync, readFileSync, statSync } from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import { parse, parseAllDocuments } from 'yaml';
import { durationSeconds } from './promql-parse.ts';
import { fields, text } from './manifest.ts';

type Json = null | boolean | number | string | Json[] | { [key: string]: Json };
type Mapping = { [key: string]: Json };

export interface Manifests {
  name: string;
  scaledObject: Mapping;
  scrapeIntervalSeconds: number;
}

/** Source: Prometheus, `global.scrape_interval`; for a ScaledObject that comes without a ServiceMonitor. */
const SCRAPE_INTERVAL_DEFAULT_SECONDS = 5;

/** Reads a ScaledObject, and how often its pods are scraped. Throws with what is missing. */
export function readManifests(path: string): Manifests {
  if (!existsSync(path)) throw new Error(`${path} does not exist`);
  const isFolder = statSync(path).isDirectory();
  const documents = isFolder ? buildFolder(resolve(path)) : documentsOf(path);
  const scaledObject = documents.find(({ kind }) => kind === 'ScaledObject');
  if (scaledObject === undefined) throw new Error(`${path} has no ScaledObject`);
  const monitor = documents.find(({ kind }) => kind === 'ServiceMonitor') ?? monitorBeside(path);
  return {
    name: isFolder ? basename(resolve(path)) : basename(path, '.yaml'),
    scaledObject,
    scrapeIntervalSeconds: monitor === undefined ? SCRAPE_INTERVAL_DEFAULT_SECONDS : intervalOf(monitor),
  };
}

/** The guide keeps the three objects in three files of one folder. */
function monitorBeside(path: string): Mapping | undefined {
  const beside = join(dirname(path), 'prometheus-servicemonitor.yaml');
  if (!existsSync(beside)) return undefined;
  return documentsOf(beside).find(({ kind }) => kind === 'ServiceMonitor');
}

function intervalOf(monitor: Mapping): number {
  const { endpoints } = fields(monitor['spec'], 'ServiceMonitor spec');
  const [endpoint] = Array.isArray(endpoints) ? endpoints : [];
  return durationSeconds(text(fields(endpoint, 'ServiceMonitor endpoint')['interval'], 'interval'));
}

function documentsOf(file: string): Mapping[] {
  return parseAllDocuments(readFileSync(file, 'utf8'))
    .map((document) => document.toJS() as Mapping | null)
    .filter((document) => document !== null);
}

/**
 * Every object of a Kustomize folder, custom resources patched; patches of other kinds are left out. A component
 * changes the objects of whoever includes it, before its own patches do.
 */
function buildFolder(folder: string, including: readonly Mapping[] = []): Mapping[] {
  const kustomization = fields(parse(readFileSync(join(folder, 'kustomization.yaml'), 'utf8')), 'kustomization');
  const resources = listOf(kustomization['resources']).flatMap((entry) => {
    const path = join(folder, text(entry, 'resources'));
    return statSync(path).isDirectory() ? buildFolder(path) : documentsOf(path);
  });
  const documents = listOf(kustomization['components']).reduce<Mapping[]>(
    (built, entry) => buildFolder(join(folder, text(entry, 'components')), built),
    [...including, ...resources],
  );
  for (const entry of listOf(kustomization['patches'])) {
    const { path, patch, target } = fields(entry, 'patches');
    const source = patch === undefined ? readFileSync(join(folder, text(path, 'patches.path')), 'utf8') : patch;
    const change = parse(text(source, 'patch')) as Json;
    const wanted = fields(target ?? change, 'patch')['kind'];
    if (wanted !== 'ScaledObject' && wanted !== 'ServiceMonitor') continue;
    const at = documents.findIndex(({ kind }) => kind === wanted);
    if (at < 0) throw new Error(`${folder} patches a ${wanted} that it does not have`);
    documents[at] = (
      Array.isArray(change) ? jsonPatch(documents[at]!, change) : merge(documents[at]!, change)
    ) as Mapping;
  }
  return documents;
}

function listOf(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}

/** RFC 7396. */
export function merge(target: Json, patch: Json): Json {
  if (!isMapping(patch)) return patch;
  const merged: Mapping = isMapping(target) ? { ...target } : {};
  for (const [key, value] of Object.entries(patch)) {
    if (value === null) delete merged[key];
    else merged[key] = merge(merged[key] ?? null, value);
  }
  return merged;
}

/** RFC 6902, `add` to a list's end and `replace` alone. */
function jsonPatch(target: Mapping, operations: readonly Json[]): Mapping {
  const copy = structuredClone(target);
  for (const operation of operations) {
    const { op, path, value } = fields(operation, 'patch operation') as Mapping;
    const keys = text(path, 'path').split('/').slice(1);
    const last = keys.pop()!;
    const parent = keys.reduce<Json>((node, key) => (node as Mapping)[key]!, copy);
    if (op === 'add' && last === '-' && Array.isArray(parent)) parent.push(value!);
    else if (op === 'replace' && isMapping(parent) && last in parent) parent[last] = value!;
    else throw new Error(`a patch operation is not known here: ${JSON.stringify(operation)}`);
  }
  return copy;
}

function isMapping(value: Json | undefined): value is Mapping {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
