"""RunOrder: everything a worker must know to do one piece of work, and nothing secret.

Control writes it into an immutable ConfigMap whose name carries its hash, so a retry reads the same order. What differs
from run to run (run id, interval) is not in it: it comes by the downward API.
"""

import base64
import gzip
import hashlib
import io
import json
from collections.abc import Mapping
from functools import cached_property
from typing import Annotated, Any, Literal, Self

from pydantic import Field

from penstock.api.access import Access
from penstock.api.budget import Budget
from penstock.api.deliveryrules import Deduplication, Frequency
from penstock.api.destination import DestinationConnector
from penstock.api.fields import Schema
from penstock.api.quality import Quality
from penstock.api.receiving import OnRefusedRow
from penstock.api.source import SourceConnector
from penstock.api.subscription import SubscriptionField
from penstock.connectors.files.spec import Format
from penstock.language import lenient
from penstock.language.auth import Auth
from penstock.language.errors import InvalidSpec
from penstock.language.model import Model
from penstock.language.traits import WriteMode

VERSION: Literal["penstock.dev/order-v1"] = "penstock.dev/order-v1"

OrderKind = Literal["inspect-source", "inspect-destination", "migrate", "ingest", "deliver", "preview"]

RUNS: tuple[OrderKind, ...] = ("ingest", "deliver")
"""The orders of runs of a Pipeline or a Subscription, which the gate admits. The others inspect, migrate or preview."""


LIMIT = 900 * 1024
"""Bytes of an order as it is in its ConfigMap: compressed, then in base64. A ConfigMap holds 1 MiB."""

UNPACKED_LIMIT = 64 * 1024 * 1024
"""Bytes of an order that a worker reads at most."""


class Subject(Model):
    """The object on whose behalf the work is done, for messages and identities."""

    kind: Literal["Source", "Destination", "Dataset", "Pipeline", "Subscription"]
    namespace: str
    name: str

    @property
    def marker(self) -> str:
        """`<namespace>/<name>`: what marks a table's owner, and the default identity of runs."""
        return f"{self.namespace}/{self.name}"


class SourceOrder(Model):
    """A Source to read."""

    name: str
    connector: SourceConnector
    auth: Auth | None = None


class DestinationOrder(Model):
    """A Destination to write or to read a Dataset from."""

    name: str
    connector: DestinationConnector
    auth: Auth | None = None


class DatasetOrder(Model):
    """A Dataset and what to do with it. `stream` and `sync` are set where it is to be loaded."""

    owner: Subject
    destination: DestinationOrder
    table: str
    description: str | None = None
    schema_: Annotated[Schema, Field(alias="schema")]
    write_mode: WriteMode
    quality: Quality
    access: Access | None = None
    """What Subscriptions can deliver; set to deliver and to migrate."""
    stream: str | None = None
    sync: Literal["full", "incremental"] | None = None
    cursor: str | None = None
    """The source column by which an incremental load of a database finds what is new."""
    lookback: str | None = None
    delay: str | None = None


class DeliveryOrder(Model):
    """Where and how to deliver the one Dataset of the order."""

    destination: DestinationOrder
    suffix: str = ""
    format: Format | None = None
    """None: the Destination's own."""
    table: str | None = None
    """The table, where the Destination receives tables."""
    on_refused_row: OnRefusedRow | None = None
    """None: fail."""
    fields: list[SubscriptionField] = []
    filter: str | None = None
    deduplication: Deduplication | None = None
    frequency: Frequency | None = None
    budget: Budget | None = None
    time_zone: str | None = None
    """Of the budget's period; None: UTC."""


class PreviewOrder(Model):
    """What to show of the order's one Dataset or its Source. `quarantined`: the Dataset's bad rows."""

    rows: Annotated[int, Field(ge=1, le=100)] = 10
    quarantined: bool = False


class RunOrder(Model):
    """One piece of work. Which members are set follows from `kind`.

    - inspect-source: `source`. - inspect-destination: `destination`. - migrate: one of `datasets`.
    - ingest: `source` and `datasets`, all of which the run covers and each of which commits alone.
    - deliver: one of `datasets`, and `delivery`. - preview: `preview`, and one of `datasets` or `source`.
    """

    version: Literal["penstock.dev/order-v1"] = VERSION
    kind: OrderKind
    subject: Subject
    identity: str
    deadline_seconds: Annotated[int, Field(ge=1)]
    source: SourceOrder | None = None
    destination: DestinationOrder | None = None
    datasets: list[DatasetOrder] = []
    delivery: DeliveryOrder | None = None
    preview: PreviewOrder | None = None

    def compress(self) -> bytes:
        """`encode()` compressed with gzip; equal orders give equal bytes. Raises `InvalidSpec` (OrderTooLarge)."""
        compressed = self.compressed
        size = len(base64.b64encode(compressed))
        if size > LIMIT:
            raise InvalidSpec(
                f"The order of its runs takes {size:,} bytes compressed, and {LIMIT:,} fit into a ConfigMap. "
                "Use fewer fields and shorter expressions, or split it.",
                "OrderTooLarge",
            )
        return compressed

    def encode(self) -> str:
        """Canonical JSON: sorted keys, no blanks; equal orders give equal text."""
        return self.encoded

    @cached_property
    def encoded(self) -> str:
        """What `encode` returns; made once, since an order of thousands of fields takes a tenth of a second."""
        return json.dumps(self.to_object(), sort_keys=True, separators=(",", ":"))

    @cached_property
    def compressed(self) -> bytes:
        """What `compress` returns, of whatever size."""
        return gzip.compress(self.encoded.encode(), mtime=0)

    @cached_property
    def digest(self) -> str:
        """The first 16 hex digits of the SHA-256 of `encode()`: the order's identity."""
        return hashlib.sha256(self.encoded.encode()).hexdigest()[:16]

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """A copy with other members; what was computed of this order is not taken along."""
        copied = super().model_copy(update=update, deep=deep)
        for name in ("encoded", "compressed", "digest"):
            copied.__dict__.pop(name, None)
        return copied


def decompress(data: bytes) -> RunOrder:
    """The order in what `compress` made, or in plain JSON as an earlier version wrote it.

    Members of a newer version are left out. Raises ValueError for what is no order of a version that this one knows.
    """
    if data[:2] == b"\x1f\x8b":
        with gzip.GzipFile(fileobj=io.BytesIO(data)) as file:
            try:
                data = file.read(UNPACKED_LIMIT + 1)
            except (OSError, EOFError) as error:
                raise ValueError(f"it is damaged: {error}") from None
    if len(data) > UNPACKED_LIMIT:
        raise ValueError(f"it is longer than {UNPACKED_LIMIT:,} bytes")
    document = json.loads(data)
    version = document.get("version") if isinstance(document, dict) else None
    if version != VERSION:
        raise ValueError(f"it is of version {version}, and this worker reads {VERSION}")
    return lenient.read(RunOrder, document)
