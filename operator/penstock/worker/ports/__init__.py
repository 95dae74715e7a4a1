"""The ports: what the worker asks of a system, and nothing of how a system does it.

In: orders, the Pod, opaque JSON (parts of a plan, states, staged work). Out: chunks of rows, staged work, commits.
Never: a system's name. `worker/connectors.py` knows which class implements which port.

- `chunks`: rows as a Source yields them, with the place of each, and what Arrow cannot hold beside them.
- `source`: Source and Session: check, discover, plan, read, acknowledge.
- `tablestore`: TableStore and Writer: tables, staging, the one transaction, scans.
- `ledger`: Ledger, Claim and Database: runs, plans, inputs, states, leases; it commits with the data.
- `target`: Target: what a Subscription delivers to.
"""
