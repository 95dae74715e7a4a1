"""Which column of a stream a name in `from` means, and what to say where there is none."""

import difflib
from collections.abc import Sequence
from functools import lru_cache

from penstock.language import paths
from penstock.language.errors import InvalidSpec
from penstock.worker.ports.chunks import UNKNOWN, Columns

_NOT_IN_NAMES = ",;\t|\0"
"""Delimiters of other files, and what UTF-16 has: a name with one of them is not suggested."""
_SHOWN, _LONGEST = 20, 60
"""How many names a message lists, and how many characters of each."""


def leads_into(path: paths.Path, columns: Columns) -> bool:
    """Whether the path begins with a column of lists, structures or maps, or with one that cannot be read."""
    same, alike = places_of(columns.names)
    first = str(path.steps[0])
    places = same.get(first) or alike.get(first.lower(), [])
    return path.root == "@" and any(
        is_nested(columns.types[place]) or columns.types[place].startswith(UNKNOWN) for place in places
    )


def is_nested(kind: str) -> bool:
    """Whether DuckDB's type is a list, a structure or a map."""
    return kind.endswith("]") or kind.startswith(("STRUCT(", "MAP("))


@lru_cache(maxsize=4)
def places_of(names: tuple[str, ...]) -> tuple[dict[str, list[int]], dict[str, list[int]]]:
    """The positions of each name, and of each name whatever its case."""
    same: dict[str, list[int]] = {}
    alike: dict[str, list[int]] = {}
    for place, name in enumerate(names):
        same.setdefault(name, []).append(place)
        alike.setdefault(name.lower(), []).append(place)
    return same, alike


def index(name: str, columns: Columns, field: str, where: str) -> int:
    """The column's position: of that name, or the only one that differs in case.

    Raises InvalidSpec when it is missing, or when there are two.
    """
    path = None if columns.open else paths.of_column(name)
    if path is not None and path.root == "@":
        name = str(path.steps[0])
    same, alike = places_of(columns.names)
    places = same.get(name) or alike.get(name.lower(), [])
    if len(places) == 1:
        return places[0]
    if places:
        message = (
            f'{where}: field {field} needs the column "{name}", which {_often(places, columns)}. Rename all but one.'
        )
        raise InvalidSpec(message, "WrongSpecification")
    raise InvalidSpec(_missing(name, columns, field, where), "WrongSpecification")


def _often(alike: Sequence[int], columns: Columns) -> str:
    places = ", ".join(str(index + 1) for index in alike[:20])
    if len({columns.names[index] for index in alike}) == 1:
        return f"occurs {'twice' if len(alike) == 2 else f'{len(alike)} times'} in it, as columns {places}"
    return f"could be any of columns {places}, whose names differ in case alone"


def _missing(name: str, columns: Columns, field: str, where: str) -> str:
    whole = [there for there in columns.names if not any(character in there for character in _NOT_IN_NAMES)]
    near = difflib.get_close_matches(name, whole, n=1, cutoff=0.5)
    if near:
        hint = f'did you mean "{near[0]}"?'
    elif columns.names:
        listed = ", ".join(f'"{_short(there)}"' for there in columns.names[:_SHOWN])
        hint = f"there are {listed}."
    else:
        hint = "there are no columns."
    advice = f" {columns.advice}" if columns.advice and not near else ""
    return f'{where}: field {field} needs the column "{name}", which is not there; {hint}{advice}'


def _short(name: str) -> str:
    return name if len(name) <= _LONGEST else f"{name[:_LONGEST]}…"
