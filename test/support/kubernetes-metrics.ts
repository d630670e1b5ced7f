/** Figures as kube-state-metrics, cert-manager and the blackbox exporter have them, of a namespace with one pod. */

export const KUBERNETES_METRICS = `# TYPE kube_pod_status_phase gauge
kube_pod_status_phase{namespace="market-data",pod="mdp-pipeline-a",phase="Running"} 1
kube_pod_status_phase{namespace="market-data",pod="mdp-pipeline-a",phase="Pending"} 0
kube_pod_status_phase{namespace="market-data",pod="mdp-pipeline-b",phase="Running"} 0
# TYPE kube_pod_container_status_restarts_total counter
kube_pod_container_status_restarts_total{namespace="market-data",pod="mdp-pipeline-a",container="pipeline"} 0
# TYPE kube_horizontalpodautoscaler_status_current_replicas gauge
kube_horizontalpodautoscaler_status_current_replicas{namespace="market-data",horizontalpodautoscaler="keda-hpa-mdp-pipeline-scaler"} 1
# TYPE kube_horizontalpodautoscaler_status_desired_replicas gauge
kube_horizontalpodautoscaler_status_desired_replicas{namespace="market-data",horizontalpodautoscaler="keda-hpa-mdp-pipeline-scaler"} 1
# TYPE kube_horizontalpodautoscaler_spec_min_replicas gauge
kube_horizontalpodautoscaler_spec_min_replicas{namespace="market-data",horizontalpodautoscaler="keda-hpa-mdp-pipeline-scaler"} 1
# TYPE kube_horizontalpodautoscaler_spec_max_replicas gauge
kube_horizontalpodautoscaler_spec_max_replicas{namespace="market-data",horizontalpodautoscaler="keda-hpa-mdp-pipeline-scaler"} 10
# TYPE kube_horizontalpodautoscaler_status_condition gauge
kube_horizontalpodautoscaler_status_condition{namespace="market-data",horizontalpodautoscaler="keda-hpa-mdp-pipeline-scaler",condition="ScalingActive",status="true"} 1
# TYPE kube_secret_created gauge
kube_secret_created{namespace="market-data",secret="mdp-pipeline"} 1.7e9
# TYPE certmanager_certificate_expiration_timestamp_seconds gauge
certmanager_certificate_expiration_timestamp_seconds{namespace="market-data",name="ingress"} 4e9
# TYPE probe_ssl_earliest_cert_expiry gauge
probe_ssl_earliest_cert_expiry 4e9
`;
