"""Bounds and allowed values as manifests write them: what a worker reads is accepted here, and nothing else."""

import duckdb
import pytest

from penstock.language import literals
from penstock.worker.rows import engine, lossless

TYPES = ("int", "long", "double", "decimal(5,2)", "decimal(18,0)", "date", "timestamp", "timestamptz")
TEXTS = (
    "", " ", "0", "-0", "+5", "-120", " 7 ", "5.0", "3.7", ".5", "5.", "1e3", "1e400", "1e-400", "0e9",
    "1.5e2", "-1E-2", "12.50e-3", "0.0012e+3", "12345e-2", "123450e-3", ".5e1", "1e", "e1", "0e99", "0e100",
    "zero", "0x10", "1_000", "2147483647", "2147483648", "-2147483648", "9223372036854775807",
    "9223372036854775808", "9007199254740993", "999.99", "999.990", "1000.00", "0.001", "-0.01", "00012.5",
    "nan", "inf", "-Infinity", "2020-02-29", "2021-02-29", "2020-1-1", "31.12.2020", "0001-01-01",
    "0000-12-31", "9999-12-31", "10000-01-01", "infinity", "2020-01-01T12:30", "2020-01-01 12:30:00",
    "2020-01-01T12:30:00.5", "2020-01-01T12:30:00.1234567", "2020-01-01T24:00:00",
    "2020-01-01T12:30:00.12345600", "2020-01-01T12:30:61", "2020-01-01T12", "2020-01-01T12:30.5",
    "2020-01-01T12:30:00Z", "2020-01-01T12:30:00+02", "2020-01-01 12:30:00 +02:00",
    "2020-01-01T12:30:00+0200", "2020-01-01Z", "2020-01-01 12:30:00 +02", "2020-01-01 12:30 Z",
    "2020-01-01T12:30:00 Europe/Paris",
)  # fmt: skip


@pytest.mark.parametrize("kind", TYPES)
def test_what_a_worker_reads_is_accepted_and_nothing_else(kind: str) -> None:
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        cast = lossless.from_text(kind, "x", "t")
        rows = ", ".join(f"({engine.text(text)})" for text in TEXTS)
        told = connection.execute(
            f"SELECT x, {cast.accept} IS NOT NULL FROM (SELECT x, {cast.attempt} AS t FROM (VALUES {rows}) AS given(x))"
        ).fetchall()
    assert {text: _reads(kind, text) for text in TEXTS} == dict(told)


def _reads(kind: str, text: str) -> bool:
    try:
        literals.read(kind, text)
    except ValueError:
        return False
    return True


@pytest.mark.parametrize(
    ("kind", "smaller", "larger"),
    [
        ("int", "-5", "10"),
        ("double", "9", "1e2"),
        ("decimal(5,2)", "9.99", "10"),
        ("date", "2020-01-31", "2020-02-01"),
        ("timestamptz", "2020-01-01T12:00:00+02:00", "2020-01-01T11:00:00Z"),
    ],
)
def test_values_are_compared_as_what_they_are(kind: str, smaller: str, larger: str) -> None:
    assert literals.read(kind, smaller) < literals.read(kind, larger)  # type: ignore[operator] # of one type


def test_what_would_have_been_right_is_told() -> None:
    with pytest.raises(ValueError, match=r'^"31\.12\.2020" is not a date, written 2026-01-31$'):
        literals.read("date", "31.12.2020")
