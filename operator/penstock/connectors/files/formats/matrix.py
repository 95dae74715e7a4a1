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

This table says how a column of a Parquet file becomes a field of a Dataset. No value is changed:

- **exact**: every value is loaded as it is.
- **exact or bad**: a value that the field's type can store exactly is loaded; any other value makes its row bad.
- **refused**: the types are not compatible; the file is refused with `WrongSpecification`.

{table}

- A column that no field uses is not read; its type and its values do not matter.
- The payload of a bad row has the columns that fields use. A time outside the years 1 to 9999 is written as the file
  has it. Bytes that are not UTF-8 are written in base64, after `base64:`.
- A number is loaded into a `double` if the double, written with as many digits, is the same number; trailing zeros of
  the fraction are ignored. So `0.1` is loaded, and `9007199254740993` makes its row bad. This also holds for CSV and
  JSON.
- A double becomes a decimal or a string with the fewest digits that identify it.
- Dates and times must be in the years 1 to 9999, without a fraction of a microsecond; any other value makes its row
  bad, unless the field is a `string`. The times of Impala, Hive and old Spark versions (int96) are read exactly.
- Spark 2, and Spark 3 in its legacy mode, write dates and times before 1582-10-15 in the Julian calendar. They keep the
  year, month and day that were written. A 29 February that does not exist in ISO 8601 makes its row bad. So does a time
  before 1900 that was not written in the time zone UTC.
- A file with a column of 128-bit integers, as polars writes them, is refused if a field uses the column.
- Binary values are read as text if they are UTF-8. Dictionary and run-length encoding are decoded.
- A list, map or struct can be used in an expression. So can every type that is not refused for all fields.
- Values in lists, maps and structs are read like columns of the same type, also int96 and the Julian calendar. If one
  of them cannot be read exactly, such as bytes that are not UTF-8, each row with this cell is bad if a field uses the
  column.
- Page checksums are verified if the file has them. A damaged or encrypted file is refused, and the message names it.
- A row of more than 1 MiB is bad. To limit memory, a file with a page of more than 64 MiB or a footer of more than
  32 MiB is refused.
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
