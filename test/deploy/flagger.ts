/**
 * What Flagger's custom resources may hold, for the fields that ours can need: no package carries its schemas.
 * Source: docs.flagger.app, "Canary spec" and "Metrics Analysis".
 */

interface Metadata {
  name: string;
  namespace?: string;
  labels?: Record<string, string>;
  annotations?: Record<string, string>;
}

interface ObjectReference {
  apiVersion: string;
  kind: string;
  name: string;
}

interface ServiceMetadata {
  labels?: Record<string, string>;
  annotations?: Record<string, string>;
}

interface Metric {
  name: string;
  interval?: string;
  thresholdRange?: { min?: number; max?: number };
  templateRef?: { name: string; namespace?: string };
  templateVariables?: Record<string, string>;
}

export interface ICanary {
  apiVersion: 'flagger.app/v1beta1';
  kind: 'Canary';
  metadata: Metadata;
  spec: {
    provider?: 'kubernetes' | 'nginx' | 'istio' | 'linkerd' | 'gatewayapi:v1' | 'gatewayapi:v1beta1';
    targetRef: ObjectReference;
    autoscalerRef?: ObjectReference & {
      primaryScalerQueries?: Record<string, string>;
      primaryScalerReplicas?: { minReplicas?: number; maxReplicas?: number };
    };
    progressDeadlineSeconds?: number;
    skipAnalysis?: boolean;
    revertOnDeletion?: boolean;
    service: {
      name?: string;
      port: number;
      portName?: string;
      targetPort?: string | number;
      portDiscovery?: boolean;
      hosts?: string[];
      gatewayRefs?: { name: string; namespace?: string; sectionName?: string }[];
      apex?: ServiceMetadata;
      primary?: ServiceMetadata;
      canary?: ServiceMetadata;
    };
    analysis: {
      interval: string;
      threshold: number;
      maxWeight?: number;
      stepWeight?: number;
      stepWeights?: number[];
      stepWeightPromotion?: number;
      iterations?: number;
      metrics?: Metric[];
    };
  };
}

export interface IMetricTemplate {
  apiVersion: 'flagger.app/v1beta1';
  kind: 'MetricTemplate';
  metadata: Metadata;
  spec: {
    provider: { type: 'prometheus'; address: string; secretRef?: { name: string }; insecureSkipVerify?: boolean };
    query: string;
  };
}
