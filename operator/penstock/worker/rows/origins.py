"""What `from` says: a column of the stream, a path into one, or an expression over its columns."""

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import duckdb

from penstock.api.fields import SchemaField
from penstock.language import paths
from penstock.language.errors import InvalidSpec
from penstock.worker.ports.chunks import Columns
from penstock.worker.rows import engine, sourcenames

if TYPE_CHECKING:
    from penstock.worker.rows import expressions

_WORDS = re.compile(r"[\w .-]+")
_LIKE_A_NAME = re.compile(r"(?=.*[^!-~])[^'\";:\0]{1,64}")
"""What a person may have meant as a column's name: it has a blank or a letter past ASCII, and no quotes."""
_NEVER = ("No function matches", "does not support the supplied arguments")
"""What DuckDB says of arguments that no column's type would make right."""


@dataclass(frozen=True)
class Origin:
    """What `from` says: an expression over columns, or, without one, the one column itself."""

    written: str
    columns: tuple[str, ...]
    expression: "expressions.Parsed | None" = None


def origin(field: SchemaField, columns: Columns) -> Origin:
    """What `from` says: a column wherever one has that very name, else a path, else an expression.

    Of open columns, any name may come: what is written with the characters of a name alone is one, unless it is a path.
    """
    written = field.from_ or field.name
    if field.from_ is None or written in sourcenames.places_of(columns.names)[0]:
        return Origin(written, (written,))
    path = paths.parse(written) or paths.of_row(written)
    if path is not None and (columns.open or sourcenames.leads_into(path, columns)):
        return Origin(written, (path.column,))
    if path is not None or (columns.open and _WORDS.fullmatch(written)):
        return Origin(written, (written,))
    from penstock.worker.rows import expressions  # sqlglot takes a tenth of a second: most Datasets go without

    try:
        parsed = expressions.parse(written, f"field {field.name}")
    except InvalidSpec:
        if " " in written and _WORDS.fullmatch(written):  # no SQL, as Customer E-Mail: a column that is to be there
            return Origin(written, (written,))
        raise
    if parsed.column is not None:
        return Origin(written, (parsed.column,))
    return Origin(written, parsed.columns, parsed)


def check_expression(written: str, where: str) -> None:
    """Raise InvalidSpec for a `from` that can work over no columns whatever. `where` names the field, for messages.

    Words are left alone: a column may have that name. What depends on the columns and their types, a run tells.
    """
    if _WORDS.fullmatch(written) or paths.parse(written) or paths.of_row(written):
        return
    from penstock.worker.rows import expressions

    try:
        parsed = expressions.parse(written, where)
        sql = expressions.sql(parsed, dict.fromkeys(parsed.columns, ("NULL", False)))
    except InvalidSpec as refused:
        hint = " A column of that name is written in double quotes." if _LIKE_A_NAME.fullmatch(written) else ""
        raise InvalidSpec(refused.message + hint) from None
    try:
        with engine.small() as connection:
            connection.execute(f"SELECT TRY(struct_pack(v := {sql}))").fetchall()
    except duckdb.Error as error:
        said = engine.one_line(error)
        if not isinstance(error, duckdb.BinderException) or any(words in said for words in _NEVER):
            raise InvalidSpec(f"{where}: {expressions.shown(written)} cannot be computed: {said}") from None
