"""Traits: what a system declares of itself, so that the kinds, control and the docs need not know it.

Each `connectors/<system>/spec.py` has a model for every part that the system can play (`SOURCE`, `DESTINATION`), with
its fields, its `Traits`, and the methods of `ConnectorSpec`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, create_model

from penstock.language.model import Model, OneOf

Sync = Literal["full", "incremental"]
WriteMode = Literal["append", "replace", "upsert", "snapshot"]
Receives = Literal["files", "tables"]


@dataclass(frozen=True)
class TableLimits:
    """What the tables of a system cannot have; a Dataset that asks for it is refused before anything is done."""

    name_bytes: int
    """Bytes of the name of a table or column."""
    columns: int
    """Columns of a Dataset."""
    reserved_columns: tuple[str, ...] = ()
    """Names that no column can have, in lower case; their case does not count."""
    reserved_tables: tuple[str, ...] = ()
    """How the names of tables must not begin."""


@dataclass(frozen=True)
class Traits:
    """What does not depend on how a connector is configured.

    `source`, `store` and `target` name the implementations of the worker's ports as `module:class`: what can be read,
    what holds the tables of Datasets, what receives deliveries. None where the system cannot do that.
    """

    title: str
    """The system's name in the docs."""
    description: str
    """One sentence, for the connector's member in `kubectl explain`."""
    source: str | None = None
    store: str | None = None
    target: str | None = None
    receives: Receives | None = None
    """What Subscriptions deliver to the system: files in a folder, or rows of a table. Set where `target` is."""
    auth: tuple[str, ...] = ()
    """The members of `auth` that the system accepts."""
    streams: Literal["one", "many"] = "many"
    """one: there is a single stream, which has the Source's name. many: their names are the system's own."""
    sync: tuple[Sync, ...] = ("full",)
    """How its streams can be read."""
    cursors: bool = False
    """Whether an incremental load finds what is new by a cursor, a column that the Pipeline names."""
    write_modes: tuple[WriteMode, ...] = ("append", "replace", "snapshot")
    """How rows can be written into the tables of a Destination."""
    limits: TableLimits | None = None
    """What the tables of a Destination cannot have; None: whatever a manifest can say is possible."""
    guarantee: str = ""
    """What a Destination promises of data that is committed or delivered, for the docs."""
    types: tuple[tuple[str, str, str], ...] = ()
    """For the docs, rows of: the system's type, the field's type that holds it, what happens to what does not fit."""
    notes: tuple[str, ...] = ()
    """For the docs: sentences about what a user of the system must know."""
    example: str = ""
    """A folder of `examples/` that uses the system."""


@dataclass(frozen=True)
class DeliveryPlace:
    """Where a Subscription delivers: two with equal places would replace each other's deliveries."""

    kind: Literal["folder", "table"]
    name: str
    """As a manifest writes it, for messages: a URL, or the name of a table."""
    scope: str
    """What tells it from a place of the same name elsewhere: a server, a namespace."""


class ConnectorSpec(Model):
    """The base of what a manifest says of one system."""

    traits: ClassVar[Traits]

    @property
    def location(self) -> str:
        """Where the system is, for `kubectl get`: a URL or an address, without anything secret."""
        raise NotImplementedError

    @property
    def claims(self) -> tuple[str, ...]:
        """The PersistentVolumeClaims that a worker needs, which are mounted at /volumes/<claim>."""
        return ()

    @property
    def secrets(self) -> tuple[str, ...]:
        """The Secrets that a worker needs, beside that of `auth`."""
        return ()

    @property
    def config_maps(self) -> tuple[str, ...]:
        """The ConfigMaps that a worker needs."""
        return ()

    def auth_fault(self, member: str | None) -> str | None:
        """What is wrong with this member of `auth` (None: no `auth`) as the connector is configured; None: nothing."""
        if member is None or member in self.traits.auth:
            return None
        if not self.traits.auth:
            return f"{self.traits.title} takes no auth"
        return f"{self.traits.title} takes auth.{' or auth.'.join(self.traits.auth)}, not auth.{member}"

    def table_place(self, namespace: str) -> str:
        """What two Destinations have in common whose tables are the same."""
        return f"{namespace}/{self.location.rstrip('/')}"

    def delivery_place(self, suffix: str | None, table: str | None, namespace: str) -> DeliveryPlace | None:
        """Where a Subscription with these settings delivers; None where that is not determined."""
        del suffix
        if table is None or self.traits.receives != "tables":
            return None
        return DeliveryPlace("table", table, self.table_place(namespace))


class ConnectorUnion(OneOf):
    """The `connector` of a kind: exactly one system. Its members are those of the registry."""

    @property
    def spec(self) -> ConnectorSpec:
        """What the manifest says of the one system."""
        spec: ConnectorSpec = getattr(self, self.choice)
        return spec

    @property
    def traits(self) -> Traits:
        """What the system declares of itself."""
        return self.spec.traits


def union(name: str, doc: str, members: Mapping[str, type[ConnectorSpec]]) -> type[ConnectorUnion]:
    """The union model of these systems, by their names; `doc` is its description."""
    fields: dict[str, Any] = {
        member: (Annotated[spec | None, Field(description=spec.traits.description)], None)
        for member, spec in members.items()
    }
    return create_model(name, __base__=ConnectorUnion, __doc__=doc, **fields)
