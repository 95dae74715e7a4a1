"""How a table differs from its Dataset's schema, and which of the differences a table with rows can take."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from penstock.language.errors import InvalidSpec, NotYet

_DECIMAL = re.compile(r"decimal\((\d+), ?(\d+)\)")


@dataclass(frozen=True)
class Column:
    """A column; `type` is the type of a Dataset's field, or the store's own name of another type."""

    name: str
    type: str
    required: bool


@dataclass(frozen=True)
class Change:
    """A way in which a table differs from its Dataset's schema. Types are those of a Dataset's schema.

    Widen is to a type that holds every value of the one before; Retype is to any other. `required` says whether an
    added column is. `before` and `after` are types; of a Rename, `before` is the name that the column had; of a
    Key, they are the names of the primary key's columns, separated by commas.
    """

    kind: Literal["AddColumn", "DropColumn", "Rename", "Widen", "Retype", "Require", "Relax", "Reorder", "Key"]
    column: str = ""
    before: str = ""
    after: str = ""
    required: bool = False

    @property
    def safe(self) -> bool:
        """Whether every row that is there stays as it is, and is good by the new schema, too."""
        if self.kind == "Key":
            return not self.after  # without a key any rows are good
        return self.kind in ("Rename", "Widen", "Relax", "Reorder") or (self.kind == "AddColumn" and not self.required)

    @property
    def sentence(self) -> str:
        """The difference, for a message."""
        match self.kind:
            case "AddColumn":
                return f"{self.column} is not in the table{' and is required' if self.required else ''}"
            case "DropColumn":
                return f"{self.column} is in the table only"
            case "Rename":
                return f"{self.before} is renamed to {self.column}"
            case "Widen" | "Retype" | "Key":
                subject = self.column or "the primary key"
                return f"{subject} is {self.before or 'none'} there and {self.after or 'none'} here"
            case "Require" | "Relax":
                return f"{self.column} is {'not ' if self.kind == 'Require' else ''}required there"
            case "Reorder":
                return "the order of the columns"


def of_keys(there: Sequence[str], wanted: Sequence[str], renamed: Mapping[str, str]) -> list[Change]:
    """How the columns of a table's primary key differ from the wanted ones; their order is of no account.

    `renamed` is as for `between`: a column of the key that is renamed stays in it.
    """
    new = {before: name for name, before in renamed.items() if name not in there}
    now = [new.get(name, name) for name in there]
    if {*now} == {*wanted}:
        return []
    return [Change("Key", before=", ".join(now), after=", ".join(wanted))]


def between(there: Sequence[Column], wanted: Sequence[Column], renamed: Mapping[str, str]) -> list[Change]:
    """How the table's columns differ from the wanted ones, renames first.

    `renamed` has, by a wanted column's name, the name that the column had before.
    """
    old = {column.name: column for column in there}
    new = {column.name: column for column in wanted}
    differences: list[Change] = []
    for name, before in renamed.items():
        if name not in old and before in old and before not in new:
            old = {name if each == before else each: column for each, column in old.items()}
            differences.append(Change("Rename", name, before=before))
    differences += [Change("DropColumn", name, before=old[name].type) for name in old if name not in new]
    for name, column in new.items():
        if name in old:
            differences += _of_one(old[name], column)
        else:
            differences.append(Change("AddColumn", name, after=column.type, required=column.required))
    if not differences and [*old] != [*new]:
        differences.append(Change("Reorder"))
    return differences


def _of_one(old: Column, new: Column) -> Iterator[Change]:
    if old.type != new.type:
        yield Change("Widen" if _widens(old.type, new.type) else "Retype", new.name, old.type, new.type)
    if old.required != new.required:
        yield Change("Require" if new.required else "Relax", new.name)


def _widens(before: str, after: str) -> bool:
    """Whether each value of the type before is one of the type after, written in the same way."""
    narrow, wide = _DECIMAL.fullmatch(before), _DECIMAL.fullmatch(after)
    if narrow is not None and wide is not None:
        return narrow[2] == wide[2] and int(narrow[1]) < int(wide[1])
    return (before, after) == ("int", "long")


def check(subject: str, table: str, differences: Sequence[Change], *, has_rows: bool) -> None:
    """Raise InvalidSpec (SchemaChanged) where a table with rows would have to change in ways that are not safe."""
    breaking = [change for change in differences if not change.safe]
    if not has_rows or not breaking:
        return
    listed = "; ".join(change.sentence for change in breaking)
    raise InvalidSpec(
        f"{subject}: table {table} differs from the schema in ways that its rows may not fit: {listed}. Nothing was "
        f"changed. {_renaming(differences)}Restore the schema or the table, or make a new Dataset with another "
        "`table`.",
        "SchemaChanged",
    )


def _renaming(differences: Sequence[Change]) -> str:
    """What to do where a column may only have another name, as after a renaming that was taken back."""
    gone = [change for change in differences if change.kind == "DropColumn"]
    new = [change for change in differences if change.kind == "AddColumn"]
    pairs = [(before.column, after.column) for before in gone for after in new if before.before == after.after]
    if not pairs or len(gone) > 1 or len(new) > 1:
        return ""
    [(before, after)] = pairs
    return f"If {after} is to be the name of the column {before}, set renamedFrom: {before} in the field {after}. "


def require_none(subject: str, table: str, differences: Sequence[Change], *, has_rows: bool) -> None:
    """Raise unless a table is as its schema says: as `check`, or NotYet (DatasetNotReady) before the migration."""
    if not differences:
        return
    check(subject, table, differences, has_rows=has_rows)
    listed = "; ".join(change.sentence for change in differences)
    raise NotYet(
        f"{subject}: table {table} is not yet as its schema says: {listed}. Its migration makes these changes. If that "
        "has ended, another program has changed the table: restore it.",
        "DatasetNotReady",
    )
