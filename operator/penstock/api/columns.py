"""What `kubectl get` prints of each kind: the story at a glance, and more with `-o wide`."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from penstock.api.objects import KindName
from penstock.language.conditions import ConditionType


@dataclass(frozen=True)
class Column:
    """One printer column; `wide` shows it with `-o wide` only."""

    name: str
    path: str
    type: Literal["string", "integer", "boolean", "date"] = "string"
    wide: bool = False

    def to_object(self) -> dict[str, Any]:
        """The column as a CustomResourceDefinition has it."""
        column: dict[str, Any] = {"name": self.name, "type": self.type, "jsonPath": self.path}
        return column | ({"priority": 1} if self.wide else {})


def _condition(kind: ConditionType, part: str) -> str:
    return f'.status.conditions[?(@.type=="{kind}")].{part}'


_READY = Column("Ready", _condition("Ready", "status"))
# Why a condition does not hold, or is not known yet, or holds by suspension; nothing while all is well. It picks every
# condition that has something to tell, and an API server prints the first (apiextensions-apiserver: tableconvertor.go);
# Ready stands before the others.
_REASON = Column("Reason", '.status.conditions[?(@.reason!="Succeeded")].reason')
_REACHABLE = Column("Reachable", _condition("Reachable", "status"))
_CHECKED = Column("Checked", ".status.lastCheckTime", "date")
_SUSPEND = Column("Suspend", ".spec.suspend", "boolean", wide=True)
_MESSAGE = Column("Message", _condition("Ready", "message"), wide=True)
_OUTCOME = Column("Outcome", _condition("LastRunSucceeded", "message"), wide=True)
_AGE = Column("Age", ".metadata.creationTimestamp", "date")

# What `kubectl get` shows of one kind fits into 80 columns with short names. Times to come are strings: a column of
# type date prints an age, and of the future "<invalid>".
OF: Mapping[KindName, tuple[Column, ...]] = {
    "Source": (
        _READY,
        _REASON,
        _REACHABLE,
        Column("Streams", ".status.streams[*].name", wide=True),
        Column("Location", ".status.location"),
        _CHECKED,
        _AGE,
        _SUSPEND,
        Column("Inspection", _condition("Discovered", "message"), wide=True),
        _MESSAGE,
    ),
    "Destination": (
        _READY,
        _REASON,
        _REACHABLE,
        Column("Location", ".status.location"),
        _CHECKED,
        _AGE,
        _SUSPEND,
        Column("Inspection", _condition("Reachable", "message"), wide=True),
        _MESSAGE,
    ),
    "Dataset": (
        _READY,
        _REASON,
        Column("Destination", ".spec.destinationRef.name"),
        Column("Mode", ".spec.writeMode"),
        Column("Rows", ".status.rows", "integer"),
        Column("Bad", ".status.quarantinedRows", "integer"),
        Column("Loaded", ".status.lastLoadTime", "date"),
        _AGE,
        Column("Table", ".status.table", wide=True),
        Column("Bytes", ".status.bytes", "integer", wide=True),
        Column("Snapshot", ".status.snapshot", wide=True),
        Column("Quality", _condition("QualityOK", "message"), wide=True),
        _SUSPEND,
        _MESSAGE,
    ),
    "Pipeline": (
        _READY,
        _REASON,
        Column("Schedule", ".spec.schedule[0]"),
        Column("Last Run", ".status.lastRun.state"),
        Column("Rows", ".status.lastRun.rowsLoaded", "integer"),
        Column("Bad", ".status.lastRun.rowsQuarantined", "integer"),
        Column("Ended", ".status.lastRun.finishedAt", "date"),
        _AGE,
        Column("Source", ".spec.sourceRef.name", wide=True),
        Column("Read", ".status.lastRun.rowsRead", "integer", wide=True),
        Column("Unchanged", ".status.lastRun.rowsUnchanged", "integer", wide=True),
        Column("Superseded", ".status.lastRun.rowsSuperseded", "integer", wide=True),
        Column("Next", ".status.nextRunTime", wide=True),
        _SUSPEND,
        _OUTCOME,
        _MESSAGE,
    ),
    "Subscription": (
        _READY,
        _REASON,
        Column("Dataset", ".spec.datasetRef.name"),
        Column("Destination", ".spec.destinationRef.name"),
        Column("Cadence", ".spec.cadence"),
        Column("Last Run", ".status.lastRun.state"),
        Column("Rows", ".status.deliveries[0].rows", "integer"),
        Column("Delivered", ".status.deliveries[0].at", "date"),
        _AGE,
        Column("Schedule", ".spec.schedule", wide=True),
        Column("Manifest", ".status.deliveries[0].manifest", wide=True),
        Column("Table", ".status.deliveries[0].table", wide=True),
        Column("Next", ".status.nextDeliveryTime", wide=True),
        _SUSPEND,
        _OUTCOME,
        _MESSAGE,
    ),
}
