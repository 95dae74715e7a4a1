{{- define "penstock.image" -}}
{{ .repository }}{{ if .digest }}@{{ .digest }}{{ else if .tag }}:{{ .tag }}{{ end }}
{{- end }}
{{- define "penstock.rules" -}}
- apiGroups: [penstock.dev]
  resources: [sources, destinations, datasets, pipelines, subscriptions]
  verbs: [get, list, watch]
- apiGroups: [penstock.dev]
  resources: [sources/status, destinations/status, datasets/status, pipelines/status, subscriptions/status]
  verbs: [patch]
- apiGroups: [batch]
  resources: [jobs, cronjobs]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [""]
  resources: [configmaps]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [""]
  resources: [pods]
  verbs: [get, list, watch]
- apiGroups: [""]
  resources: [pods/log]
  verbs: [get]
- apiGroups: [""]
  resources: [events]
  verbs: [create]
{{- end }}
{{- define "penstock.definitionsRule" -}}
- apiGroups: [apiextensions.k8s.io]
  resources: [customresourcedefinitions]
  resourceNames:
    - sources.penstock.dev
    - destinations.penstock.dev
    - datasets.penstock.dev
    - pipelines.penstock.dev
    - subscriptions.penstock.dev
  verbs: [get]
{{- end }}
