"""The rules of a Subscription as SQL, against a plain reference that looks at one row after the other."""

import math
import random
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest

from penstock.language import periods
from penstock.language.errors import InvalidSpec, NotYet
from penstock.runs.order import DatasetOrder, DeliveryOrder
from penstock.worker.ports.tablestore import LOAD_ID, Scan
from penstock.worker.rows import delivery, direct, engine

Json = dict[str, Any]
Row = dict[str, Any]

NOW = datetime(2026, 3, 31, 12, 0, 0, tzinfo=UTC)
KINDS = {
    "s": "string",
    "b": "boolean",
    "i": "int",
    "n": "long",
    "x": "double",
    "d": "decimal(38,2)",
    "day": "date",
    "t": "timestamp",
    "z": "timestamptz",
}
READ: dict[str, Callable[[str], Any]] = {
    "s": str,
    "b": lambda text: text == "true",
    "i": int,
    "n": int,
    "x": float,
    "d": Decimal,
    "day": date.fromisoformat,
    "t": datetime.fromisoformat,
    "z": datetime.fromisoformat,
}
VALUES: dict[str, list[str]] = {
    "s": ["", "a", "A", "ä", "1", "01", "10", "9", "it's", "null", "NaN", "%"],
    "b": ["true", "false"],
    "i": ["-2147483648", "-1", "0", "1", "2147483647"],
    "n": ["-9223372036854775808", "9007199254740992", "9007199254740993", "9223372036854775807", "0"],
    "x": ["-0.0", "0.0", "0.1", "0.30000000000000004", "0.3", "1e300", "-5e-324"],
    "d": ["999999999999999999999999999999999999.99", "999999999999999999999999999999999999.98", "0.10", "-0.01", "0"],
    "day": ["2026-02-28", "2026-03-01", "2026-03-30", "2026-03-31", "2026-04-01", "0001-01-01", "9999-12-31"],
    "t": ["2026-03-01T11:59:59.999999", "2026-03-01T12:00:00", "2026-03-31T12:00:00.000001", "9999-12-31T23:59:59"],
    "z": [
        "2026-03-01T12:00:00+00:00",
        "2026-03-01T13:00:00+02:00",
        "2026-02-28T12:00:00+00:00",
        "1969-12-31T23:59:59Z",
    ],
}


def dataset() -> DatasetOrder:
    return DatasetOrder.model_validate(
        {
            "owner": {"kind": "Dataset", "namespace": "demo", "name": "things"},
            "destination": {
                "name": "lake",
                "connector": {"duckdb": {"path": "/volumes/w/x.duckdb", "volume": {"claimName": "w"}}},
            },
            "table": "things",
            "schema": {"fields": [{"name": name, "type": kind} for name, kind in KINDS.items()]},
            "writeMode": "append",
            "quality": {},
        }
    )


def order(**rules: Any) -> DeliveryOrder:
    place = {
        "name": "out",
        "connector": {"files": {"url": "file:///volumes/o/", "volume": {"claimName": "o"}, "format": {"csv": {}}}},
    }
    return DeliveryOrder.model_validate({"destination": place, **rules})


def scanner(rows: Sequence[Row], size: int = 7) -> delivery.Scanned:
    """Scans rows as a store does, in small batches."""

    def scan(columns: Sequence[str]) -> Scan:
        types = {name: direct.arrow_type(kind) for name, kind in KINDS.items()} | {LOAD_ID: pa.int64()}
        schema = pa.schema([pa.field(name, types[name]) for name in columns])
        batches = pa.Table.from_pylist([{name: row[name] for name in columns} for row in rows], schema).to_batches(size)
        return Scan(pa.RecordBatchReader.from_batches(schema, batches), len(rows), "1")

    return scan


def selected(
    rows: Sequence[Row], rules: DeliveryOrder, before: Sequence[str] = ()
) -> tuple[list[int], tuple[str, ...]]:
    """The numbers of the rows that are delivered, in order, and the keys to remember."""
    asked = delivery.query(rules, dataset(), NOW)
    if asked is None:
        return [*range(len(rows))], ()
    scan = scanner(rows)
    with engine.connect(256 << 20, 2, None) as connection:
        chosen = delivery.select(asked, scan, connection, delivery.unpacked(before))
    kept = delivery.taken(scan([*KINDS]), chosen)
    positions = chosen.positions.to_pylist()
    assert kept.total == len(positions)
    whole = scan([*KINDS]).rows.read_all()
    # As texts, in which NaN is equal to itself.
    assert str(kept.rows.read_all().to_pylist()) == str(whole.take(pa.array(positions, pa.int64())).to_pylist())
    return positions, delivery.packed(chosen.keys)


# ── the reference ──


def passes(row: Row, name: str, given: Json) -> bool:
    value = row[name]
    read = READ[name]
    if given.get("isNull") and value is not None:
        return False
    if given.get("notNull") and value is None:
        return False
    if "include" in given and not (value is not None and any(value == read(text) for text in given["include"])):
        return False
    if "exclude" in given and value is not None and any(value == read(text) for text in given["exclude"]):
        return False
    if "range" in given and not within(value, given["range"], read):
        return False
    return "recency" not in given or recent(value, given["recency"])


def within(value: Any, bounds: Json, read: Callable[[str], Any]) -> bool:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return False
    if "min" in bounds:
        low = read(bounds["min"])
        if value < low or (bounds.get("minExclusive") and value == low):
            return False
    if "max" in bounds:
        high = read(bounds["max"])
        if value > high or (bounds.get("maxExclusive") and value == high):
            return False
    return True


def recent(value: Any, period: str) -> bool:
    if value is None:
        return False
    since = {
        "30d": NOW - timedelta(days=30),
        "P1M": datetime(2026, 2, 28, 12, tzinfo=UTC),
        "PT1H": NOW - timedelta(hours=1),
    }[period]
    if not isinstance(value, datetime):
        return bool(value >= since.date())
    return (value if value.tzinfo else value.replace(tzinfo=UTC)) >= since


def key(row: Row, by: Sequence[str]) -> tuple[Any, ...]:
    """What is equal to what: NaN to NaN, a missing value to another."""
    return tuple("NaN" if isinstance(row[name], float) and math.isnan(row[name]) else row[name] for name in by)


def reference(rows: Sequence[Row], rules: Json) -> list[int]:
    kept = [
        at
        for at, row in enumerate(rows)
        if all(passes(row, field["name"], field["filter"]) for field in rules["fields"] if "filter" in field)
    ]
    if frequency := rules.get("frequency"):
        counts = Counter(key(rows[at], frequency["by"]) for at in kept)
        low, high = frequency.get("min", 1), frequency.get("max", math.inf)
        kept = [at for at in kept if low <= counts[key(rows[at], frequency["by"])] <= high]
    if deduplication := rules.get("deduplication"):
        best: dict[tuple[Any, ...], int] = {}
        for at in kept:
            group = key(rows[at], deduplication["by"])
            if group not in best or (rows[at][LOAD_ID] or 0) > (rows[best[group]][LOAD_ID] or 0):
                best[group] = at
        kept = sorted(best.values())
    return kept


# ── generated rows and rules ──


def some_row(dice: random.Random) -> Row:
    row: Row = {name: None if dice.random() < 0.2 else READ[name](dice.choice(VALUES[name])) for name in KINDS}
    if dice.random() < 0.2:
        row["x"] = dice.choice([math.nan, math.inf, -math.inf])
    return {**row, LOAD_ID: dice.choice([None, 1, 2, 3])}


def some_filter(dice: random.Random, name: str) -> Json:
    choices: list[Json] = [{"notNull": True}, {"isNull": True}]
    some = dice.sample(VALUES[name], dice.randint(1, 2))
    choices += [{"include": some}, {"exclude": some}, {"exclude": some, "notNull": True}]
    if name not in ("s", "b"):
        low, high = sorted(dice.choices(VALUES[name], k=2), key=READ[name])
        exclusive = {word: True for word in ("minExclusive", "maxExclusive") if READ[name](low) < READ[name](high)}
        choices += [{"range": {"min": low, "max": high}}, {"range": {"min": low, "max": high, **exclusive}}]
        choices += [{"range": {"min": low}}, {"range": {"max": high}}, {"range": {"max": high}, "exclude": some}]
    if name in ("day", "t", "z"):
        choices += [{"recency": period} for period in ("30d", "P1M", "PT1H")]
    return dice.choice(choices)


def some_rules(dice: random.Random) -> Json:
    names = dice.sample([*KINDS], dice.randint(0, 2))
    rules: Json = {"fields": [{"name": name, "filter": some_filter(dice, name)} for name in names]}
    if dice.random() < 0.4:
        low = dice.randint(1, 3)
        bounds = dice.choice([{"min": low}, {"max": low}, {"min": low, "max": low + dice.randint(0, 3)}])
        rules["frequency"] = {"by": dice.sample([*KINDS], dice.randint(1, 2)), **bounds}
    if dice.random() < 0.4:
        rules["deduplication"] = {"by": dice.sample([*KINDS], dice.randint(1, 2))}
    return rules


@pytest.mark.parametrize("seed", range(3))
def test_generated_rules_deliver_the_rows_of_the_reference(seed: int) -> None:
    dice = random.Random(seed)
    for _ in range(30):
        rows = [some_row(dice) for _ in range(dice.randint(0, 40))]
        rules = some_rules(dice)
        assert selected(rows, order(**rules))[0] == reference(rows, rules), rules


def things(**columns: Sequence[Any]) -> list[Row]:
    """Rows with these columns; the others are null, and all are of one load."""
    length = len(next(iter(columns.values())))
    empty: Row = {**dict.fromkeys(KINDS), LOAD_ID: 1}
    return [{**empty, **{name: values[at] for name, values in columns.items()}} for at in range(length)]


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("i > 1", [2]),
        ("s LIKE 'a%'", [0]),
        ("CAST(s AS int) = 7", [1]),  # a row for which the cast fails is not delivered, and nothing of it is shown
        ("s IS NULL", [2]),
        ("upper(s) = 'AB' OR i = 3", [0, 2]),
    ],
)
def test_an_expression_delivers_rows_for_which_it_is_true(expression: str, expected: list[int]) -> None:
    rows = things(s=["ab", "7", None], i=[1, None, 3])
    assert selected(rows, order(filter=expression))[0] == expected
    by_field = [{"name": "i", "exported": False, "filter": {"expression": expression}}]
    assert selected(rows, order(fields=by_field))[0] == expected


@pytest.mark.parametrize(
    ("rules", "said"),
    [
        ({"filter": "i + 1"}, "filter: i + 1 is a INTEGER, and a filter is true or false"),
        ({"filter": "tail = 'x'"}, 'Dataset things has no field "tail"'),
        ({"filter": "getenv('HOME') = 'x'"}, "the function getenv is not allowed"),
        ({"filter": "(SELECT true)"}, "not allowed"),
        ({"filter": "true; DROP TABLE rows"}, "not one SQL expression"),
        ({"filter": "i > 'a'"}, "cannot be computed"),
        ({"fields": [{"name": "i", "filter": {"include": ["one"]}}]}, '"one" is not a whole number of 32 bits'),
        ({"deduplication": {"by": ["tail"]}}, 'Dataset things has no field "tail"'),
    ],
)
def test_wrong_rules_are_refused_before_anything_is_read(rules: Json, said: str) -> None:
    with pytest.raises(InvalidSpec) as refused:
        delivery.query(order(**rules), dataset(), NOW)
    assert said in refused.value.message


def test_values_that_were_delivered_within_the_period_are_not_delivered_again() -> None:
    rules = order(deduplication={"by": ["s", "x"], "period": "90d"})
    first, remembered = selected(things(s=["a", "a", None, 'a","'], x=[0.0, -0.0, math.nan, None]), rules)
    assert first == [0, 2, 3]
    again = things(s=["a", "b", None, 'a","', "a"], x=[-0.0, 0.0, math.nan, None, None])
    second, more = selected(again, rules, remembered)
    assert second == [1, 4]
    assert selected(again, rules, [*remembered, *more])[0] == []


def test_rows_that_changed_between_the_two_scans_are_not_delivered() -> None:
    rows = things(i=[1, 2, 3])
    asked = delivery.query(order(filter="i > 1"), dataset(), NOW)
    assert asked is not None
    with engine.connect(256 << 20, 1, None) as connection:
        chosen = delivery.select(asked, scanner(rows), connection)
    with pytest.raises(NotYet, match="changed while it was read"):
        delivery.taken(scanner(rows[:2])(["i"]), chosen).rows.read_all()


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("30d", "2026-03-01T12:00:00+00:00"),
        ("P30D", "2026-03-01T12:00:00+00:00"),
        ("1h30m", "2026-03-31T10:30:00+00:00"),
        ("P1M", "2026-02-28T12:00:00+00:00"),
        ("P1Y1M", "2025-02-28T12:00:00+00:00"),
        ("P2W", "2026-03-17T12:00:00+00:00"),
        ("P1DT12H", "2026-03-30T00:00:00+00:00"),
        ("P9999Y", "0001-01-01T00:00:00+00:00"),
    ],
)
def test_periods(written: str, expected: str) -> None:
    assert periods.read(written).before(NOW).isoformat() == expected


@pytest.mark.parametrize("written", ["", "P", "PT", "P0D", "30", "d", "P1.5D", "P1D1M", "-P1D", "P1DT", "0d", "P٣D"])
def test_what_is_no_period_is_refused(written: str) -> None:
    with pytest.raises(ValueError, match="write days as"):
        periods.read(written)
