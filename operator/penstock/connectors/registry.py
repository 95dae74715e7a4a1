"""The systems there are, by name: a connector is one line here, and a folder.

`connectors/<system>/spec.py` says what a manifest can say of it (`SOURCE`, `DESTINATION`) and, in its traits, which
class implements which port of the worker. Importing this imports the specs, and none of the implementations.
"""

from collections.abc import Mapping
from importlib import import_module

from penstock.language.traits import ConnectorSpec

SYSTEMS = (
    "duckdb",
    "files",
    "lake",
    "mysql",
    "postgres",
    "sqlite",
)


def _specs(part: str) -> Mapping[str, type[ConnectorSpec]]:
    modules = {name: import_module(f"penstock.connectors.{name}.spec") for name in SYSTEMS}
    return {name: getattr(module, part) for name, module in modules.items() if hasattr(module, part)}


SOURCES = _specs("SOURCE")
"""What a Source can be, by the name of the member of `connector`."""
DESTINATIONS = _specs("DESTINATION")
"""What a Destination can be, by the name of the member of `connector`."""
