"""All of a Dataset's fields over one set of columns, and what the columns must have for that."""

import difflib
import hashlib
import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from penstock.api.fields import SchemaField
from penstock.language import paths
from penstock.language.errors import InvalidSpec
from penstock.worker.ports.chunks import UNKNOWN, Columns
from penstock.worker.rows import casting, engine, origins, portions, sourcenames
from penstock.worker.rows.origins import Origin
from penstock.worker.rows.shaped import HINTED, Shape, ShapedField

_TEXT = "VARCHAR"


@dataclass(frozen=True)
class Limits:
    """What values cannot be: the characters that the Dataset's store cannot hold in any text, and the most bytes of a
    text, by field.
    """

    forbidden: str = ""
    longest: tuple[tuple[str, int], ...] = ()
    null_on_mismatch: bool = False
    """Whether the Dataset takes a value that is not of its field's type as no value."""


NO_LIMITS = Limits()


def compiled(fields: Sequence[SchemaField], columns: Columns, where: str, limits: Limits = NO_LIMITS) -> Shape:
    """The fields over these columns. `where` names the file, for messages.

    Raises InvalidSpec: with WrongSpecification for a column that is not there or can never be of the field's type.
    """
    froms = [origins.origin(field, columns) for field in fields]
    if columns.open:
        names = tuple(dict.fromkeys(name for origin in froms for name in origin.columns))
        columns = replace(columns, names=names, types=(_TEXT,) * len(names))
    elif columns.partial:
        columns = _needed(columns, fields, froms, where)
    shaped = [
        casting.shaped_field(number, field, origin, columns, where)
        for number, (field, origin) in enumerate(zip(fields, froms, strict=True))
    ]
    if len(shaped) > HINTED:
        shaped = [replace(each, has_hints=False) for each in shaped]
    _require_bounded(shaped)
    shape = Shape(tuple(shaped), columns.names, columns.open, columns.types, columns.as_written)
    hidden = shape.sensitive
    finished = [
        replace(
            each,
            masked=not hidden.isdisjoint(each.source_columns),
            forbidden=limits.forbidden if each.field.type == "string" else "",
            null_on_mismatch=limits.null_on_mismatch,
            longest=dict(limits.longest).get(each.field.name),
        )
        for each in shaped
    ]
    return replace(shape, fields=tuple(finished))


def _require_bounded(fields: Sequence[ShapedField]) -> None:
    """Raise InvalidSpec where expressions together may make more text of one row than memory holds."""
    large = [each.field.name for each in fields if each.texts]
    if large and sum(each.texts for each in fields) > portions.MOST_TEXTS:
        listed = ", ".join(large[:5]) + (" and others" if len(large) > 5 else "")
        message = (
            f"The expressions of {len(large)} fields, {listed}, may make more than {portions.MOST_TEXTS} MiB of text "
        )
        message += "from one row. Use replace and regexp_replace in fewer fields."
        raise InvalidSpec(message)


def _needed(columns: Columns, fields: Sequence[SchemaField], froms: Sequence[Origin], where: str) -> Columns:
    """The columns that the fields are made of, in the order of the stream."""
    places = {
        sourcenames.index(name, columns, field.name, where)
        for field, origin in zip(fields, froms, strict=True)
        for name in origin.columns
    }
    ordered = sorted(places)
    names, types = (tuple(entries[place] for place in ordered) for entries in (columns.names, columns.types))
    for name, kind in zip(names, types, strict=True):
        if kind.startswith(UNKNOWN):
            message = f'{where}: the column "{name}" is of the type {kind.removeprefix(UNKNOWN)}, which cannot be read.'
            raise InvalidSpec(f"{message} Leave it out, or write it as another type.", "WrongSpecification")
    return replace(columns, names=names, types=types)


def digest(fields: Sequence[SchemaField]) -> str:
    """The first 12 hex digits of the schema's SHA-256."""
    canonical = json.dumps([field.to_object() for field in fields], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:12]


def require_names(shaped: Shape, absent: Collection[str], names: Sequence[str], where: str) -> None:
    """Raise InvalidSpec (WrongSpecification) for a field that is one of the names that no row of an input has.

    `names` are some of those that are there, for the message. Names in expressions may be absent.
    """
    for each in shaped.fields:
        if each.expression_sql is not None or each.source_columns[0] not in absent:
            continue
        name = each.source_columns[0]
        path = paths.of_column(name)
        near = difflib.get_close_matches(name, names, n=1, cutoff=0.5) if path is None else []
        listed = ", ".join(f'"{there}"' for there in names[:20])
        hint = f'did you mean "{near[0]}"?' if near else f"there are {listed}."
        key, quoted = (path.shown, path.shown) if path else (name, engine.name(name))
        message = f'{where}: field {each.field.name} needs the key "{key}", which no line has; {hint} Keys that whole '
        message += f"files may lack are written as an expression: coalesce({quoted})."
        if all(one.source_columns[0] in absent for one in shaped.fields if one.expression_sql is None):
            message += " If the rows are in a list inside of each line, name it in format.json.records."
        raise InvalidSpec(message, "WrongSpecification")
