"""The data plane: one RunOrder in, one RunReport out, and between them rows that are all accounted for.

In: a RunOrder file, Secrets as files, the run id and limits from the environment (`runs.places`).
Out: rows in a lake's tables or files in a folder, one line in the ledger that commits with them, a RunReport.
Never: the Kubernetes API, a Secret in a log or a message, a value that was silently changed, a row that vanishes.
"""
