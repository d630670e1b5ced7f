/**
 * Every check of `mdp verify` by name, in the order of the rollout guide's steps, and what a check can find. Knows
 * nothing of how they are made.
 */

/** The guide's steps 2 to 6 by their numbers there; what the guide does not have comes behind. */
export const STEPS = {
  deploy: 'Step 2, deploy',
  health: 'Step 3, health',
  prometheus: 'Step 4, Prometheus',
  watch: 'Step 5, dashboard and alerts',
  scaling: 'Step 6, scaling',
  edge: 'The edge',
  'first-day': 'The first 24 hours',
} as const;
export type StepName = keyof typeof STEPS;

/** What has to be there to look: `--only` chooses among these. */
export const AREAS = ['pod', 'edge', 'prometheus', 'kube'] as const;
export type Area = (typeof AREAS)[number];

interface Check {
  step: StepName;
  area: Area;
  /** What is true when it passes. */
  title: string;
}

export const CHECKS = {
  'kube.kubectl': { step: 'deploy', area: 'kube', title: 'kubectl reaches the cluster' },
  'kube.image': { step: 'deploy', area: 'kube', title: 'the Deployment runs one image of mdp-pipeline' },
  'kube.port': { step: 'deploy', area: 'kube', title: 'container, probes and Service agree on port 8000' },
  'kube.pods': { step: 'deploy', area: 'kube', title: 'all pods run that image, and are ready' },
  'kube.service': { step: 'deploy', area: 'kube', title: 'the Service leads to ready pods' },
  'kube.log': { step: 'health', area: 'kube', title: 'the pods log no errors' },
  'pod.health': { step: 'health', area: 'pod', title: '/health says healthy' },
  'pod.ready': { step: 'health', area: 'pod', title: '/ready says ready' },
  'pod.metrics': { step: 'health', area: 'pod', title: "/metrics has the guide's three gauges" },
  'pod.depth': { step: 'health', area: 'pod', title: 'the queue depth is the real one' },
  'pod.state': { step: 'health', area: 'pod', title: 'the backpressure state is the real one' },
  'pod.rate-scale': { step: 'health', area: 'pod', title: 'the rate scale is that of the level' },
  'pod.level': { step: 'health', area: 'pod', title: 'nobody is slowed down' },
  'pod.books': { step: 'health', area: 'pod', title: 'the books balance' },
  'prometheus.answers': { step: 'prometheus', area: 'prometheus', title: 'Prometheus answers' },
  'prometheus.target': { step: 'prometheus', area: 'prometheus', title: 'every pod is a target that is UP' },
  'prometheus.fresh': { step: 'prometheus', area: 'prometheus', title: 'its figures are fresh' },
  'prometheus.depth': { step: 'prometheus', area: 'prometheus', title: 'query 1, queue depth' },
  'prometheus.rate-scale': { step: 'prometheus', area: 'prometheus', title: 'query 2, rate scale' },
  'prometheus.state': { step: 'prometheus', area: 'prometheus', title: 'query 3, backpressure' },
  'watch.panels': { step: 'watch', area: 'prometheus', title: "the dashboard's first panels have data" },
  'watch.rules': { step: 'watch', area: 'prometheus', title: 'every alert is loaded, and evaluated' },
  'watch.can-fire': { step: 'watch', area: 'prometheus', title: 'every alert can fire' },
  'kube.monitor': { step: 'prometheus', area: 'kube', title: 'the ServiceMonitor selects the Service' },
  'kube.scaledobject': { step: 'scaling', area: 'kube', title: 'the ScaledObject has the limits meant, and is ready' },
  'kube.hpa': { step: 'scaling', area: 'kube', title: 'the HPA knows its targets' },
  'scaling.queries': { step: 'scaling', area: 'prometheus', title: "the scaler's queries answer" },
  'edge.health': { step: 'edge', area: 'edge', title: '/health says healthy' },
  'edge.status': { step: 'edge', area: 'edge', title: '/status says that ticks arrive' },
  'edge.probe': { step: 'edge', area: 'edge', title: 'a tick goes the whole way' },
  'edge.read-back': { step: 'edge', area: 'edge', title: 'it is in the store of this cluster' },
  'edge.scaling': { step: 'edge', area: 'edge', title: '/v1/scaling tells the demand' },
} as const satisfies Record<string, Check>;
export type CheckName = keyof typeof CHECKS | `first-day.${string}`;

export interface Result {
  check: CheckName;
  step: StepName;
  title: string;
  outcome: 'pass' | 'fail' | 'skip';
  /** What was found; of a skipped check, why nobody looked. */
  fact: string;
  /** Of a failed one: what to do next, and the runbook's chapter about it. */
  next?: string;
  chapter?: string;
}

export function pass(check: keyof typeof CHECKS, fact: string): Result {
  return { ...about(check), outcome: 'pass', fact };
}

export function fail(check: keyof typeof CHECKS, fact: string, next: string, chapter: Chapter): Result {
  return { ...about(check), outcome: 'fail', fact, next, chapter: RUNBOOK + chapter };
}

export function skip(check: keyof typeof CHECKS, why: string): Result {
  return { ...about(check), outcome: 'skip', fact: why };
}

function about(check: keyof typeof CHECKS): Pick<Result, 'check' | 'step' | 'title'> {
  const { step, title } = CHECKS[check];
  return { check, step, title };
}

export const RUNBOOK = 'deploy/README.md#';

/** Headings of the runbook, as its links name them; a test holds the two together. */
export const CHAPTERS = [
  'before-the-first-rollout',
  'deploy-the-pods',
  'deploy-the-edge',
  'verify',
  'watch',
  'tuning',
  'the-first-24-hours',
  'by-symptom',
  'pipelinequeuehigh',
  'pipelinehardbackpressure',
  'pipelineratescalelow',
  'pipelinelevelstale',
  'pipelinebooksresidue',
  'pipelinestorecircuitopen',
  'pipelinestoregateclosed',
  'pipelinenodemandmetric',
  'pipelinepodnotscraped',
  'pipelineedgenotscraped',
  'pipelinescalerblind',
  'pipelinepodrestarting',
  'edgeoutboxold',
] as const;
export type Chapter = (typeof CHAPTERS)[number];
