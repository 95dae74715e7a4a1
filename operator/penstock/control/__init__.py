"""The control plane: compares what the five kinds say with what is there, and launches Jobs and CronJobs.

In: objects of the five kinds and our children, as watched. Out: children applied, Jobs created, one status patch.
Never: touches data, reads a Secret, imports a data library.

The line, first station to last: `cluster` → `resolve` → `observe` → `desired` → `due` → `drift` → `apply` → `status`,
written down once in `reconcile.py`; beside it `gate.py`, the one place where runs are admitted; around it
`controller.py`.
Before any of that `handlers.py` waits for the `prerequisites.py` and the `lease.py`; `probes.py` answers the probes.
"""
