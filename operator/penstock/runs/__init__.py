"""The one contract between control and worker, versioned: a RunOrder goes in, a RunReport comes out.

In: typed specs from `api`. Out: JSON, in a ConfigMap there and in a termination message back.
Never: I/O, clocks, Kubernetes, data libraries.
"""
