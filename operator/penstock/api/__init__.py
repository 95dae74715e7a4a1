"""The language: the five kinds as frozen models, their conditions, their errors, their CRDs.

In: manifests (YAML or JSON objects). Out: typed specs, or `InvalidSpec` that says which field is wrong and what to do.
Never: I/O other than reading the manifest files a command names; Kubernetes clients; data libraries.
"""
