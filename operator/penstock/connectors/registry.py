"""Which class implements which port for which system, by name: importing this imports none of them.

A connector is one line in each port that it has. The names are the members of the kinds' `connector` unions.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING, Any, cast

from penstock.language.errors import InvalidSpec

if TYPE_CHECKING:
    from penstock.worker.ports.source import Source
    from penstock.worker.ports.tablestore import TableStore
    from penstock.worker.ports.target import Target

SOURCES: Mapping[str, str] = {"files": "penstock.connectors.files.source:FilesSource"}
STORES: Mapping[str, str] = {"lake": "penstock.connectors.lake.store:LakeStore"}
TARGETS: Mapping[str, str] = {"files": "penstock.connectors.files.target:FilesTarget"}


@dataclass(frozen=True)
class Connectors:
    """The implementations that a worker can load, `module:class` by the connector's name."""

    sources: Mapping[str, str] = field(default_factory=lambda: SOURCES)
    stores: Mapping[str, str] = field(default_factory=lambda: STORES)
    targets: Mapping[str, str] = field(default_factory=lambda: TARGETS)

    def source(self, name: str) -> "type[Source]":
        """The Source of that name. Raises InvalidSpec where the connector reads nothing."""
        return cast("type[Source]", _loaded(self.sources, name, "be read"))

    def store(self, name: str) -> "type[TableStore]":
        """The TableStore of that name. Raises InvalidSpec where the connector holds no tables."""
        return cast("type[TableStore]", _loaded(self.stores, name, "hold the tables of Datasets"))

    def target(self, name: str) -> "type[Target]":
        """The Target of that name. Raises InvalidSpec where the connector receives nothing."""
        return cast("type[Target]", _loaded(self.targets, name, "receive deliveries"))


def _loaded(implementations: Mapping[str, str], name: str, ability: str) -> Any:
    if name not in implementations:
        able = ", ".join(sorted(implementations))
        raise InvalidSpec(f"connector.{name} cannot {ability}; these can: {able}.")
    module, _, attribute = implementations[name].partition(":")
    return getattr(import_module(module), attribute)
