"""Parquet by DuckDB with odd options, against the values as Python has them; and encrypted columns of pyarrow.

PENSTOCK_FUZZ sets how many rounds there are, by default one of 30 files.
"""

import base64
import math
import os
import random
import struct
import uuid
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pyarrow.parquet.encryption as pe
import pytest

from penstock.language.errors import InvalidSpec
from worker import judging
from worker.pods import a_pod, field

ROUNDS = int(os.environ.get("PENSTOCK_FUZZ", "1"))
FILES = 30
Chance = random.Random


def whole(bits: int, signed: bool = True) -> Callable[[Chance], int]:
    low, high = (-(1 << bits - 1), (1 << bits - 1) - 1) if signed else (0, (1 << bits) - 1)
    return lambda chance: chance.choice([low, high, 0, chance.randint(low, high)])


def decimals(precision: int, scale: int) -> Callable[[Chance], Decimal]:
    most = 10**precision - 1

    def make(chance: Chance) -> Decimal:
        digits = chance.choice([0, most, -most, chance.randint(-most, most)])
        sign, figures = int(digits < 0), tuple(int(figure) for figure in str(abs(digits)))
        return Decimal((sign, figures, -scale))

    return make


def texts(chance: Chance) -> str:
    return "".join(chance.choices(["a", "é", "😀", "\n", '"', "\x01", "NULL", " "], k=chance.randint(0, 9)))


def days(chance: Chance) -> date:
    return date.fromordinal(chance.choice([1, date.max.toordinal(), chance.randint(1, date.max.toordinal())]))


def moments(finest: int) -> Callable[[Chance], datetime]:
    """Times that are multiples of so many microseconds."""

    def make(chance: Chance) -> datetime:
        microseconds = chance.randrange(86_400_000_000) // finest * finest
        return datetime.combine(days(chance), time()) + timedelta(microseconds=microseconds)

    return make


def of_text(value: Any) -> str:
    """The value as DuckDB casts a text to it."""
    if isinstance(value, bytes):
        return "".join(f"\\x{byte:02X}" for byte in value)
    return value.isoformat(" ") + "+00" if isinstance(value, datetime) else str(value)


def single(chance: Chance) -> float:
    bits = chance.randrange(1 << 32) & ~(0x7F800000 if chance.random() < 0.5 else 0) | (chance.randrange(255) << 23)
    number: float = struct.unpack("f", struct.pack("I", bits & 0xFFFFFFFF))[0]
    return number if math.isfinite(number) else 0.5


Column = tuple[str, str, Callable[[Chance], Any], Callable[[Any], Any]]
"""DuckDB's type, the field's, what makes a value, and what the field then has."""


def as_it_is(value: Any) -> Any:
    return value


# Not the whole range of INTEGER: in its version V2, DuckDB writes differences of 33 bits, which Arrow does not read.
COLUMNS: list[Column] = [
    ("BOOLEAN", "boolean", lambda chance: chance.random() < 0.5, as_it_is),
    ("TINYINT", "int", whole(8), as_it_is),
    ("SMALLINT", "int", whole(16), as_it_is),
    ("INTEGER", "int", lambda chance: chance.randint(-(1 << 30), 1 << 30), as_it_is),
    ("BIGINT", "long", whole(64), as_it_is),
    ("UTINYINT", "int", whole(8, signed=False), as_it_is),
    ("USMALLINT", "int", whole(16, signed=False), as_it_is),
    ("UINTEGER", "long", lambda chance: chance.randrange(1 << 31), as_it_is),
    ("UBIGINT", "decimal(20,0)", whole(64, signed=False), Decimal),
    ("FLOAT", "double", single, as_it_is),
    ("DOUBLE", "double", lambda chance: chance.uniform(-1, 1) * 10.0 ** chance.randrange(-300, 300), as_it_is),
    *((f"DECIMAL({p},{s})", f"decimal({p},{s})", decimals(p, s), as_it_is) for p, s in
      ((1, 0), (4, 4), (9, 2), (18, 3), (19, 19), (38, 10))),
    ("VARCHAR", "string", texts, as_it_is),
    ("VARCHAR", "string", lambda chance: chance.choice(["one", "two"]), as_it_is),
    ("BLOB", "string", lambda chance: texts(chance).encode(), lambda value: value.decode()),
    ("UUID", "string", lambda chance: uuid.UUID(int=chance.getrandbits(128)), str),
    ("DATE", "date", days, as_it_is),
    ("TIMESTAMP", "timestamp", moments(1), as_it_is),
    ("TIMESTAMP_S", "timestamp", moments(1_000_000), as_it_is),
    ("TIMESTAMP_MS", "timestamp", moments(1_000), as_it_is),
    ("TIMESTAMPTZ", "timestamptz", moments(1), lambda value: value.replace(tzinfo=UTC)),
    ("TIME", "string", lambda chance: (datetime.min + timedelta(seconds=chance.randrange(86_400))).time(),
     lambda value: value.isoformat() + ".000000"),
]  # fmt: skip


def write(path: Path, columns: list[Column], rows: list[list[Any]], chance: Chance) -> None:
    """A file that DuckDB writes, with options that few writers choose."""
    names = [f"f{number}" for number in range(len(columns))]
    options = [
        f"CODEC '{chance.choice(['uncompressed', 'snappy', 'zstd', 'gzip', 'brotli', 'lz4_raw'])}'",
        f"ROW_GROUP_SIZE {chance.choice([2048, 4096, 100_000])}",
        f"PARQUET_VERSION '{chance.choice(['V1', 'V2'])}'",
        f"DICTIONARY_SIZE_LIMIT {chance.choice([1, 10, 100_000])}",
        f"STRING_DICTIONARY_PAGE_SIZE_LIMIT {chance.choice([100, 1_000_000])}",
    ]
    casts = ", ".join(f"CAST({name} AS {column[0]}) AS {name}" for name, column in zip(names, columns, strict=True))
    written = [[None if value is None else of_text(value) for value in column] for column in zip(*rows, strict=True)]
    given = pa.table([pa.array(column, pa.string()) for column in written], names=names)
    with duckdb.connect() as connection:
        connection.register("given", given)
        connection.execute(f"COPY (SELECT {casts} FROM given) TO '{path}' (FORMAT parquet, {', '.join(options)})")


@pytest.mark.parametrize("seed", range(ROUNDS))
def test_what_duckdb_writes_is_read_as_it_is(seed: int, tmp_path: Path) -> None:
    chance, path = Chance(f"duckdb {seed}"), tmp_path / "a.parquet"
    for _ in range(FILES):
        columns = chance.sample(COLUMNS, chance.randint(1, 8))
        count = chance.choice([1, 50, 3000])
        nulls = chance.choice([0, 0.1, 1])
        rows = [[None if chance.random() < nulls else make(chance) for _, _, make, _ in columns] for _ in range(count)]
        write(path, columns, rows, chance)
        fields = [field(f"f{number}", kind) for number, (_, kind, _, _) in enumerate(columns)]
        good, bad = judging.parquet(path, fields, tmp_path)
        assert bad == {}
        expected = [
            [None if value is None else read(value) for value, (*_, read) in zip(row, columns, strict=True)]
            for row in rows
        ]
        for row, wanted in zip(good.values(), expected, strict=True):
            found = [value.astimezone(UTC) if isinstance(value, datetime) and value.tzinfo else value
                     for value in row.values()]  # fmt: skip
            assert [repr(value) for value in found] == [repr(value) for value in wanted], [c[0] for c in columns]


class Keys(pe.KmsClient):  # type: ignore[misc]  # pyarrow has no types
    """Keeps keys where everybody finds them."""

    def __init__(self, _: Any) -> None:
        pe.KmsClient.__init__(self)

    def wrap_key(self, key_bytes: bytes, _: str) -> bytes:
        return base64.b64encode(key_bytes)

    def unwrap_key(self, wrapped_key: bytes, _: str) -> bytes:
        return base64.b64decode(wrapped_key)


@pytest.mark.parametrize("plaintext_footer", [False, True])
@pytest.mark.parametrize("asked", ["open", "secret"])
def test_encrypted_columns_are_refused_by_name(asked: str, plaintext_footer: bool, tmp_path: Path) -> None:
    pod = a_pod(tmp_path, field(asked, "long"), form={"parquet": {}})
    settings = pe.EncryptionConfiguration(
        footer_key="footer", column_keys={"column": ["secret"]}, plaintext_footer=plaintext_footer
    )
    factory = pe.CryptoFactory(Keys)
    properties = factory.file_encryption_properties(pe.KmsConnectionConfig(), settings)
    table = pa.table({"open": [1, 2], "secret": [3, 4]})
    with pq.ParquetWriter(pod.data / "a.parquet", table.schema, encryption_properties=properties) as writer:
        writer.write_table(table)
    report = pod.work()
    if asked == "open" and plaintext_footer:
        assert [row["open"] for row in pod.rows()] == [1, 2]
        return
    assert report.reason == "WrongSpecification"
    assert "a.parquet" in (report.message or "")
    assert "encrypted" in (report.message or "")


def test_what_duckdb_encrypts_is_refused_by_name(tmp_path: Path) -> None:
    with duckdb.connect() as connection:
        connection.execute("SET force_mbedtls_unsafe = true")
        connection.execute("PRAGMA add_parquet_key('key', '0123456789112345')")
        connection.execute(
            f"COPY (SELECT 1 AS n) TO '{tmp_path}/a.parquet' (FORMAT parquet, ENCRYPTION_CONFIG {{footer_key: 'key'}})"
        )
    with pytest.raises(InvalidSpec, match=r"a\.parquet is encrypted Parquet") as refused:
        judging.parquet(tmp_path / "a.parquet", [field("n", "long")], tmp_path)
    assert refused.value.reason == "WrongSpecification"


def test_integers_of_128_bits_by_polars_matter_only_where_they_are_used(tmp_path: Path) -> None:
    path = Path(__file__).with_name("otherwriters") / "polars-int128.parquet"
    good, bad = judging.parquet(path, [{"name": "id", "type": "long"}], tmp_path)
    assert (good, bad) == ({0: {"id": 1}, 1: {"id": 2}}, {})
    for kind in ("string", "decimal(38,0)"):
        with pytest.raises(InvalidSpec, match='the column "big" is of the type integer of 128 bits') as refused:
            judging.parquet(path, [{"name": "big", "type": kind}], tmp_path)
        assert refused.value.reason == "WrongSpecification"
