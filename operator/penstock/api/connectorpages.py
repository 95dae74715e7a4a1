"""The generated pages of `docs/connectors/`: one a system, from its spec and traits, and the table of all of them."""

from collections.abc import Iterator, Mapping
from typing import Any

from penstock.api import crds, objects
from penstock.api.fieldtables import GENERATED, fields, table
from penstock.connectors.registry import DESTINATIONS, SOURCES, SYSTEMS
from penstock.language.traits import Traits

_INDEX = """# Connectors

The systems that a Source can read, that can store the tables of Datasets, and that can receive deliveries.

"""

_GUARANTEES = """
## Guarantees

These guarantees hold if a worker is killed at any moment and the run is tried again.

"""


def pages() -> Mapping[str, str]:
    """The text of each page by its file name."""
    return {"README.md": _index(), **{f"{name}.md": _page(name) for name in SYSTEMS}}


def _index() -> str:
    rows = [
        (
            f"[{_title(name)}]({name}.md)",
            "yes" if name in SOURCES else "",
            "yes" if name in DESTINATIONS and DESTINATIONS[name].traits.store else "",
            (DESTINATIONS[name].traits.receives or "") if name in DESTINATIONS else "",
        )
        for name in SYSTEMS
    ]
    guarantees = [(_title(name), spec.traits.guarantee) for name, spec in DESTINATIONS.items()]
    systems = table(("system", "Source", "tables of Datasets", "deliveries"), rows)
    return f"{GENERATED}{_INDEX}{systems}{_GUARANTEES}{table(('Destination', 'guarantee'), guarantees)}"


def _traits(name: str) -> Iterator[Traits]:
    for specs in (SOURCES, DESTINATIONS):
        if name in specs:
            yield specs[name].traits


def _title(name: str) -> str:
    return next(_traits(name)).title


def _page(name: str) -> str:
    parts = [f"{GENERATED}# {_title(name)}\n"]
    if name in SOURCES:
        parts.append(_part("Source", name, SOURCES[name].traits))
    if name in DESTINATIONS:
        parts.append(_part("Destination", name, DESTINATIONS[name].traits))
    return "\n".join(parts)


def _part(kind: objects.KindName, name: str, traits: Traits) -> str:
    lines = [f"## {name} as a {kind}\n", f"{traits.description}\n"]
    lines += [f"- {sentence}" for sentence in _abilities(kind, traits)]
    lines += [f"- {note}" for note in traits.notes]
    rows = [*fields(f"spec.connector.{name}", _schema(kind, name))]
    lines.append(f"\n{table(('field', 'type', 'what it is'), rows)}")
    if traits.types:
        lines.append("### Types\n")
        lines.append(table((f"{traits.title}", "field", "what does not fit"), traits.types))
    return "\n".join(lines)


def _abilities(kind: objects.KindName, traits: Traits) -> Iterator[str]:
    yield f"Authentication: {', '.join(f'`auth.{member}`' for member in traits.auth) or 'none'}."
    if kind == "Source":
        one = "One stream, which has the name of the Source"
        yield f"Streams: {one if traits.streams == 'one' else 'many; a Pipeline names each in `stream`'}."
        yield f"Reading: {', '.join(f'`sync: {sync}`' for sync in traits.sync)}."
    if traits.store is not None:
        yield f"Writing: {', '.join(f'`writeMode: {mode}`' for mode in traits.write_modes)}."
    if traits.receives is not None:
        about = ": [deliveries into tables](../table-deliveries.md)" if traits.receives == "tables" else ""
        yield f"Deliveries: {traits.receives}{about}."
    if traits.guarantee:
        yield f"Guarantee: {traits.guarantee}"
    if traits.example:
        yield f"Example: [{traits.example}](../../{traits.example})."


def _schema(kind: objects.KindName, name: str) -> Mapping[str, Any]:
    spec = crds.documented(objects.KINDS[kind])["properties"]["spec"]
    schema: Mapping[str, Any] = spec["properties"]["connector"]["properties"][name]
    return schema
