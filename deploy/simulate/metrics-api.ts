/**
 * KEDA's metrics-api trigger, as far as it asks the edge: which figure of `GET /v1/scaling` it reads. Pure: it sends
 * nothing.
 * Source: pkg/scalers/metrics_api_scaler.go of KEDA 2.20.
 */

export const SCALING_PATH = '/v1/scaling';

/**
 * GJSON paths of the edge's totals, in ticks per second, ticks and seconds. A test holds them to what the Worker serves;
 * one that the edge does not know at the moment is missing there.
 */
export const EDGE_FIGURES = [
  'total.demandTicksPerSecond',
  'total.outstandingTicks',
  'total.oldestOutstandingSeconds',
] as const;
export type EdgeFigure = (typeof EDGE_FIGURES)[number];

type Fields = Readonly<Record<string, unknown>>;

const METADATA_FIELDS = new Set(['url', 'valueLocation', 'authMode', 'targetValue', 'format']);

/** Throws with the field that is wrong, of `metadata` or of `authenticationRef`. */
export function parseMetricsApi(metadata: Fields, authenticationRef: unknown, where: string): EdgeFigure {
  const { url, valueLocation, authMode, format = 'json' } = metadata;
  for (const field of Object.keys(metadata)) {
    if (!METADATA_FIELDS.has(field)) throw new Error(`${where}.metadata.${field} is not known here`);
  }
  if (typeof url !== 'string' || !URL.canParse(url)) throw new Error(`${where}.metadata.url must be a URL`);
  if (new URL(url).pathname !== SCALING_PATH) {
    throw new Error(`${where}.metadata.url: only ${SCALING_PATH} of the edge is simulated, not ${url}`);
  }
  const figure = EDGE_FIGURES.find((name) => name === valueLocation);
  if (figure === undefined) {
    const known = EDGE_FIGURES.join(', ');
    throw new Error(`${where}.metadata.valueLocation "${String(valueLocation)}" is not known here: ${known} are`);
  }
  if (format !== 'json') throw new Error(`${where}.metadata.format must be json, which the edge answers`);
  if (authMode !== 'bearer') throw new Error(`${where}.metadata.authMode must be bearer: the edge tells nobody else`);
  const { name } = (authenticationRef ?? {}) as Fields;
  if (typeof name !== 'string') throw new Error(`${where}.authenticationRef.name must say where the token is`);
  return figure;
}

/** The figure in an answer of the edge; undefined when it is not there. */
export function figureIn(answer: unknown, figure: EdgeFigure): number | undefined {
  const value = figure.split('.').reduce<unknown>((node, key) => (node as Fields | null | undefined)?.[key], answer);
  return typeof value === 'number' ? value : undefined;
}
