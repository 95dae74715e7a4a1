"""A small Kubernetes for one person on one machine: laptops, the demo and fast end-to-end tests.

In: what kubectl, kopf and our operator send to an API server. Out: the answers a real one (1.35) gives, and
Pods of our one worker image, run as local processes. It is never the judge of anything: a real control plane is
(`tests/controlplane`), and every behaviour here was first tried there.

Never: it knows none of the five kinds (they come as CRDs like any other), imports neither kopf nor kubernetes,
neither `control` nor `worker`; isolates nothing and nobody (single user, loopback, TLS and one token); and never
ignores silently what it does not do: that is refused with a Status that names it. Accepted without effect, because a
local process has none of it: securityContext, resources, nodeSelector, tolerations, affinity, service accounts.
"""
