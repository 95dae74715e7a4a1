"""Which class implements which port for which system: the names come from traits, the classes when they are used."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING, Any, cast

from penstock.connectors.registry import DESTINATIONS, SOURCES
from penstock.language.errors import InvalidSpec
from penstock.runs.order import DestinationOrder, SourceOrder
from penstock.worker.pod import Pod

if TYPE_CHECKING:
    from penstock.worker.ports.source import Source
    from penstock.worker.ports.tablestore import TableStore
    from penstock.worker.ports.target import Target


@dataclass(frozen=True)
class Connectors:
    """The implementations that a worker can load, `module:class` by the connector's name."""

    sources: Mapping[str, str] = field(
        default_factory=lambda: {name: spec.traits.source for name, spec in SOURCES.items() if spec.traits.source}
    )
    stores: Mapping[str, str] = field(
        default_factory=lambda: {name: spec.traits.store for name, spec in DESTINATIONS.items() if spec.traits.store}
    )
    targets: Mapping[str, str] = field(
        default_factory=lambda: {name: spec.traits.target for name, spec in DESTINATIONS.items() if spec.traits.target}
    )

    def source(self, name: str) -> "type[Source]":
        """The Source of that name. Raises InvalidSpec where the connector reads nothing."""
        return cast("type[Source]", _loaded(self.sources, name, "be read"))

    def store(self, name: str) -> "type[TableStore]":
        """The TableStore of that name. Raises InvalidSpec where the connector holds no tables."""
        return cast("type[TableStore]", _loaded(self.stores, name, "hold the tables of Datasets"))

    def target(self, name: str) -> "type[Target]":
        """The Target of that name. Raises InvalidSpec where the connector receives nothing."""
        return cast("type[Target]", _loaded(self.targets, name, "receive deliveries"))

    def source_of(self, order: SourceOrder, pod: Pod) -> "Source":
        """The Source that an order describes. Raises InvalidSpec."""
        return self.source(order.connector.choice)(order, pod)

    def store_of(self, destination: DestinationOrder, pod: Pod) -> "TableStore":
        """The TableStore that an order describes. Raises InvalidSpec."""
        return self.store(destination.connector.choice)(destination, pod)

    def target_of(self, destination: DestinationOrder, pod: Pod) -> "Target":
        """The Target that an order describes. Raises InvalidSpec."""
        return self.target(destination.connector.choice)(destination, pod)


def _loaded(implementations: Mapping[str, str], name: str, ability: str) -> Any:
    if name not in implementations:
        able = ", ".join(sorted(implementations))
        raise InvalidSpec(f"connector.{name} cannot {ability}; these can: {able}.")
    module, _, attribute = implementations[name].partition(":")
    return getattr(import_module(module), attribute)
