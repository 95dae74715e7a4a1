"""Where things lie in a worker Pod, and how it ends. The worker resolves each path under `PENSTOCK_POD_ROOT`."""

POD_ROOT = "PENSTOCK_POD_ROOT"
"""Environment variable: the folder that stands for `/` (default `/`); set by the local process runner."""

ORDER = "/etc/penstock/order/order.json.gz"
"""The RunOrder, compressed. Jobs that an earlier version made have it without the suffix."""
SECRETS = "/etc/penstock/secrets"
"""Each Secret is a folder here, each of its keys a file: `/etc/penstock/secrets/<secret>/<key>`."""
CONFIG_MAPS = "/etc/penstock/configmaps"
"""Each ConfigMap is a folder here, each of its keys a file."""
SCRATCH = "/scratch"
"""An emptyDir: spill files, spooled downloads, staging of what is not staged beside its target."""
VOLUMES = "/volumes"
"""Each claim is mounted at `/volumes/<claimName>`."""
TERMINATION_LOG = "/dev/termination-log"

RUN_ID = "PENSTOCK_RUN_ID"
"""Environment variable, from the Pod annotation `penstock.dev/run-id`: stable over every retry of one run."""
ATTEMPT = "PENSTOCK_ATTEMPT"
"""Environment variable, from the Pod annotation `penstock.dev/attempt`: counts the Jobs of one run id, from 1.

The Pods of one Job share an attempt and so the recorded plan; a new attempt plans anew what is not committed.
"""
POD_NAME = "PENSTOCK_POD_NAME"
"""Environment variable: who holds the lease, for messages."""
MEMORY_LIMIT = "PENSTOCK_MEMORY_LIMIT"
"""Environment variable: the container's memory limit in bytes, where there is one; else the cgroup tells."""

EXIT_DONE = 0
EXIT_UNKNOWN = 1
"""Something unforeseen: the Job tries again, up to its backoffLimit."""
EXIT_CONFIGURATION = 2
"""The user must change something: the Job fails at once."""
EXIT_AGAIN = 3
"""Something outside is not ready: the Job tries again, up to its backoffLimit."""

REPORT_LINE = "penstock-report "
"""The last line of a worker's log begins with this; the report as JSON follows, see `report.details`."""
CATALOG_LINE = "penstock-catalog "
"""The log line of an inspection that carries the catalog, as JSON after this prefix; at most 512 KiB; see `Catalog` in
`report.py`."""
PROGRESS_LINE = "penstock-progress "
"""The log lines of a load that say how far it is, as JSON after this prefix; see `Progress` in `report.py`."""
PREVIEW_LINE = "penstock-preview "
"""The log line of a preview that carries its rows, as JSON after this prefix; see `Preview` in `report.py`."""
