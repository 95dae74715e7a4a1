"""The generated pages of `docs/`: conditions and reasons, every field of the five kinds, and each system."""

from collections.abc import Iterator, Mapping
from pathlib import Path

from penstock.api import connectorpages, crds, objects
from penstock.api.fieldtables import GENERATED, Described, fields, table
from penstock.api.objects import Kind
from penstock.language import conditions
from penstock.language.errors import InvalidSpec

_CONDITIONS = """# Conditions and reasons

The state of every object is in `status.conditions`, after the Kubernetes API conventions. The `message` of a condition
says what is wrong in this case, where, and what to do.

"""

_KINDS = f"""# The five kinds, field by field

API group `{objects.GROUP}`, version `{objects.VERSION}`. The same texts are what `kubectl explain` prints.
`[]` is a list. A field that is not marked as required may be left out. Fields of several objects are described once.

"""


def pages() -> Mapping[str, str]:
    """The text of each generated page by its file name, the same bytes every time."""
    connectors = {f"connectors/{name}": text for name, text in connectorpages.pages().items()}
    return {
        "conditions.md": _conditions(),
        "kinds.md": GENERATED + _KINDS + _kinds(),
        **connectors,
    }


def write(folder: Path, *more: tuple[str, str]) -> list[Path]:
    """Write the pages, and `more` of them by name and text, into a folder; returns those whose content changed."""
    wanted = {**pages(), **dict(more)}
    changed = [*_stale(folder, wanted)]
    for name in changed:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(wanted[name], encoding="utf-8")
    return [folder / name for name in changed]


def check(folder: Path, *more: tuple[str, str]) -> None:
    """Raise `InvalidSpec` naming the pages in a folder that are not as the models say."""
    if stale := [str(folder / name) for name in _stale(folder, {**pages(), **dict(more)})]:
        named = ", ".join(stale)
        raise InvalidSpec(
            f"not as the models say: {named}. Run `penstock crds --docs {folder}`, and commit the result."
        )


def _stale(folder: Path, wanted: Mapping[str, str]) -> Iterator[str]:
    for name, text in wanted.items():
        path = folder / name
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            yield name


def _conditions() -> str:
    types = [(f"`{name}`", meaning) for name, meaning in conditions.TYPES.items()]
    reasons = [(f"`{name}`", meaning) for name, meaning in conditions.REASONS.items()]
    return (
        f"{GENERATED}{_CONDITIONS}## Conditions\n\n{table(('type', 'it is true when'), types)}\n"
        f"## Reasons\n\n{table(('reason', 'what it means'), reasons)}"
    )


def _kinds() -> str:
    described = Described()
    return "\n".join(_kind(kind, described) for kind in objects.KINDS.values())


def _kind(kind: Kind, described: Described) -> str:
    """One kind's chapter: what it is, and two tables."""
    schema = crds.documented(kind)
    of = f" of a {kind.name}"
    spec, status = ([*fields(part, schema["properties"][part], described, of)] for part in ("spec", "status"))
    heading = ("field", "type", "what it is")
    return (
        f"## {kind.name}\n\n{schema['description']} Short name: `{kind.short}`.\n\n"
        f"{table(heading, spec)}\n### Status of a {kind.name}\n\n{table(heading, status)}"
    )
