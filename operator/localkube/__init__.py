"""A small Kubernetes for one person on one machine: laptops, the demo and fast end-to-end tests.

In: what kubectl, kopf and our operator send to an API server. Out: the answers a real one (1.35) gives, and Pods of our
one worker image, run as local processes. `cluster.running(...)` is the way in. It is never the judge of anything: a
real control plane is, and `tests/embedded` runs against both.

    server → lists | writes → store             what is asked · what is told · what changes · what stays
    decoding, schema, rules, naming, strategies, workloads, patching, ownership → fieldsets    the steps of a write
    registry, openapi, tables → jsonpath, matching, fieldtable                     what there is and how it is shown
    controllers → jobs, cronjobs, collector, journal                                what happens by itself
    processes → podfolder, podprocess, podstatus, podlogs, apiclient                the node: a client like any other

Never: it knows none of the five kinds (they come as CRDs like any other), imports neither kopf nor kubernetes, neither
`control` nor `worker`, isolates nothing and nobody (single user, loopback, TLS and one token), and ignores nothing
silently: what it does not do is refused with a Status that names it (RBAC, other workloads, several containers,
foreign images, exec, Indexed Jobs, TTL, conversion, webhooks). Accepted without effect, because a local process has
none of it: securityContext, resources, nodeSelector, tolerations, affinity, priority, service accounts, DNS.
"""
