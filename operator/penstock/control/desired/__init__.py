"""Third station: what should be there for a graph: orders, CronJobs, and the Job that carries out one run. Pure.

In: a `resolve.Graph`. Out: manifests. Never: looks at what is there.
"""
