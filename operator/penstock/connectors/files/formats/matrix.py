"""The page docs/parquet.md: which Parquet type becomes which type of a Dataset, as the code decides it."""

from collections.abc import Iterator
from dataclasses import dataclass

import pyarrow as pa

from penstock.connectors.files.formats import carriers
from penstock.worker.rows import direct, lossless

KINDS = ("string", "boolean", "int", "long", "double", "decimal(12,2)", "date", "timestamp", "timestamptz")
"""The types of the language, one of each kind."""
EXACT, SOME, REFUSED = "exact", "exact or bad", "refused"


@dataclass(frozen=True)
class Stored:
    """A type that a Parquet file may have: how the page calls it, and how pyarrow does."""

    label: str
    arrow: pa.DataType
    physical: str = ""
    logical: str = ""


STORED = (
    Stored("boolean", pa.bool_()),
    Stored("int 8", pa.int8()),
    Stored("int 16", pa.int16()),
    Stored("int 32", pa.int32()),
    Stored("int 64", pa.int64()),
    Stored("uint 8", pa.uint8()),
    Stored("uint 16", pa.uint16()),
    Stored("uint 32", pa.uint32()),
    Stored("uint 64", pa.uint64()),
    Stored("float16", pa.float16()),
    Stored("float", pa.float32()),
    Stored("double", pa.float64()),
    Stored("decimal(10,2)", pa.decimal128(10, 2)),
    Stored("decimal(18,6)", pa.decimal128(18, 6)),
    Stored("decimal(76,38)", pa.decimal256(76, 38)),
    Stored("string", pa.string(), logical="STRING"),
    Stored("json", pa.string(), logical="JSON"),
    Stored("enum", pa.binary(), logical="ENUM"),
    Stored("binary", pa.binary()),
    Stored("bson", pa.binary(), logical="BSON"),
    Stored("fixed length binary", pa.binary(4)),
    Stored("uuid", pa.binary(16), logical="UUID"),
    Stored("date", pa.date32()),
    Stored("time ms", pa.time32("ms")),
    Stored("time us", pa.time64("us")),
    Stored("time ns", pa.time64("ns")),
    Stored("timestamp ms", pa.timestamp("ms")),
    Stored("timestamp us", pa.timestamp("us")),
    Stored("timestamp ns", pa.timestamp("ns")),
    Stored("int96", pa.timestamp("s"), physical="INT96"),
    Stored("timestamp ms, UTC", pa.timestamp("ms", "UTC")),
    Stored("timestamp us, UTC", pa.timestamp("us", "UTC")),
    Stored("timestamp ns, UTC", pa.timestamp("ns", "UTC")),
    Stored("interval", pa.binary(12), logical="INTERVAL"),
    Stored("null", pa.null()),
    Stored("list", pa.list_(pa.int32())),
    Stored("map", pa.map_(pa.string(), pa.int32())),
    Stored("struct", pa.struct([("a", pa.int32())])),
)

_PAGE = """\
<!-- Written by `make crds`. -->
# Parquet

A column of the file becomes a field of the Dataset without changing a value:

- **exact**: every value is taken as it is.
- **exact or bad**: a value that the field's type holds exactly is taken, and any other makes the row bad.
- **refused**: no value of that type can be one of the field's; the file is refused with `WrongSpecification`.

{table}

- A column that no field uses is not read, whatever its type is and whatever it holds.
- The payload of a bad row has the columns that fields use. Times that no type holds, such as the year 84107, are in it
  as the file has them; bytes that are not UTF-8 are in base64, after `base64:`.
- A double takes a number when the double, written with as many digits, is that number; zeros at the end of a fraction
  do not count. So `0.1` is taken, and `9007199254740993` is not. The same goes for text in CSV and JSON.
- A double becomes a decimal or a string by the fewest digits that stand for it.
- Days and times lie in the years 1 to 9999 and are as fine as a microsecond; others make the row bad. A string takes
  those too. The times of Impala, Hive and old Spark (int96) are read exactly.
- Dates and times before 1582-10-15 that Spark 2, or Spark 3 in its legacy mode, wrote in the Julian calendar stay the
  dates that were written. 29 February of a year that ISO 8601 has no such day in makes its row bad, and so does a time
  before 1900 that was not written with the time zone UTC.
- A column of integers of 128 bits, as polars writes them, is refused where a field uses it.
- Binary is text where it is UTF-8. Dictionaries and runs are read as what they stand for.
- A list, map or struct can be used in an expression; so can all that is not refused everywhere.
- Checksums of pages are verified where the file has them. A damaged or encrypted file is refused by name.
- A row of more than 1 MiB is bad. So that no file costs more memory than a worker has, pages of more than 64 MiB and
  footers of more than 32 MiB are refused.
"""


def page() -> str:
    """The text of the page."""
    return _PAGE.format(table="\n".join(_table()))


def cell(stored: Stored, kind: str) -> str:
    """What becomes of values of a stored type in a field of `kind`."""
    carrier = carriers.carrier(stored.arrow, stored.physical, stored.logical)
    if lossless.from_type(carrier.name, kind, "x", "t") is None and carrier.name != "VARCHAR":
        return REFUSED
    reader = direct.reader(carrier.name, kind)
    if stored.arrow == pa.null() or (reader is not None and reader[1] and not carrier.beside):
        return EXACT
    only_text = kind == "string" and not (carrier.beside and lossless.comes_as_text(carrier.name))
    return EXACT if only_text else SOME


def _table() -> Iterator[str]:
    yield f"| in the file | {' | '.join(KINDS)} |"
    yield f"|{'---|' * (len(KINDS) + 1)}"
    for stored in STORED:
        yield f"| {stored.label} | {' | '.join(cell(stored, kind) for kind in KINDS)} |"
