"""Fuzzers: seeded inputs against oracles that share no code with the product, which know what they have written.

PENSTOCK_FUZZ sets how many rounds there are, by default so few that all takes half a minute.
"""

import csv as plain_csv
import io
import os
import random
import re
from collections import Counter
from collections.abc import Iterator
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import orjson
import pytest

from penstock.connectors.files.formats import Room, reader
from penstock.connectors.files.spec import Format
from penstock.connectors.files.stores import StoredFile
from penstock.language.errors import InvalidSpec
from penstock.worker.rows import engine
from worker.pods import APod, a_pod, csv, field

ROUNDS = int(os.environ.get("PENSTOCK_FUZZ", "1"))
BAD = object()
Cell = tuple[str, Any]
"""What is written, and the value that it is."""


def a_long(chosen: random.Random) -> Cell:
    number = chosen.choice([chosen.randrange(-99, 99), chosen.randrange(-(2**65), 2**65), 2**63 - 1, 2**63, -(2**63)])
    fits = -(2**63) <= number < 2**63
    return chosen.choice([(str(number), number if fits else BAD), ("x1", BAD), ("1.5", BAD), ("--1", BAD), ("+7", 7)])


def a_decimal(chosen: random.Random) -> Cell:
    number = Decimal(chosen.randrange(-(10**6), 10**6)).scaleb(-chosen.randrange(5))
    text = f"{number:f}"
    exact = number == number.quantize(Decimal("0.01")) and abs(number) < 1000
    return chosen.choice([(text, number.quantize(Decimal("0.01")) if exact else BAD), ("1,5", BAD), (".", BAD)])


def a_double(chosen: random.Random) -> Cell:
    number = chosen.uniform(-1, 1) * 10.0 ** chosen.randrange(-300, 15)
    return chosen.choice([(repr(number), number), ("1e400", BAD), ("inf", BAD), ("1e-400", BAD), ("-0.0", -0.0)])


def a_boolean(chosen: random.Random) -> Cell:
    return chosen.choice([("true", True), ("NO", False), ("1", True), ("f", False), ("truee", BAD), ("2", BAD)])


def a_date(chosen: random.Random) -> Cell:
    day = date.fromordinal(chosen.randrange(1, date.max.toordinal()))
    return chosen.choice([(day.isoformat(), day), ("2013-02-29", BAD), ("2013-1-5", BAD), ("05.01.2013", BAD)])


def a_time(chosen: random.Random) -> Cell:
    time = datetime.fromordinal(chosen.randrange(1, date.max.toordinal()))
    time = time.replace(
        hour=chosen.randrange(24), second=chosen.randrange(60), microsecond=chosen.choice([0, 500000, 1])
    )
    return chosen.choice(
        [(time.isoformat(sep=chosen.choice(" T")), time), ("2013-01-05 24:00:00", BAD), ("10:00", BAD)]
    )


def a_string(chosen: random.Random) -> Cell:
    parts = [
        "a",
        " ",
        ",",
        ";",
        "\t",
        '"',
        "'",
        "\n",
        "\r\n",
        "\\",
        "é",
        "😀",
        "\x00",
        "NA",
        "null",
        "{",
        "}",
        "|",
        "\\N",
    ]
    text = "".join(chosen.choices(parts, k=chosen.randrange(1, 8)))
    return text, text


KINDS = {
    "long": a_long,
    "decimal(5,2)": a_decimal,
    "double": a_double,
    "boolean": a_boolean,
    "date": a_date,
    "timestamp": a_time,
    "string": a_string,
}
FIELDS = [field(f"f{number}", kind) for number, kind in enumerate(KINDS)]
DIALECTS: list[dict[str, Any]] = [
    {},
    {"delimiter": ";", "quote": "'", "escape": "'", "nullValues": ["NA"]},
    {"delimiter": "\t", "nullValues": ["", "\\N"]},
    {"escape": "\\", "nullValues": ["\\N", ""]},
    {"delimiter": "|", "header": False},
]
Expected = tuple[Counter[tuple[Any, ...]], list[int]]
"""The rows of a file, and the lines of those that are bad."""


def written_csv(cells: list[str], form: dict[str, Any], chosen: random.Random) -> tuple[str, list[str | None]]:
    """A record as Python's csv module writes it, and its cells as that module reads them; None for null."""
    out = io.StringIO()
    everything = chosen.random() < 0.5
    quote, escape = form.get("quote", '"'), form.get("escape", form.get("quote", '"'))
    writer = plain_csv.writer(
        out,
        delimiter=form.get("delimiter", ","),
        quotechar=quote,
        quoting=plain_csv.QUOTE_ALL if everything else plain_csv.QUOTE_MINIMAL,
        doublequote=escape == quote,
        escapechar=None if escape == quote else escape,
        lineterminator="\r\n",
    )
    if escape != quote:  # PostgreSQL's way; the module would escape outside quotes too
        writer_row = [f'"{cell.translate({34: chr(92) + chr(34), 92: chr(92) * 2})}"' for cell in cells]
        return form.get("delimiter", ",").join(writer_row), [*cells]
    writer.writerow(cells)
    nulls = form.get("nullValues", [""])
    return out.getvalue().removesuffix("\r\n"), [None if cell in nulls and not everything else cell for cell in cells]


def a_csv_file(chosen: random.Random, form: dict[str, Any]) -> tuple[bytes, Expected]:
    delimiter, quote = form.get("delimiter", ","), form.get("quote", '"')
    ending = chosen.choice(["\n", "\r\n"])
    lines = [delimiter.join(one["name"] for one in FIELDS)] if form.get("header", True) else []
    rows, bad, line = Counter[tuple[Any, ...]](), list[int](), 1 + len(lines)
    out = [text.encode() + ending.encode() for text in lines]
    if not lines:  # the first row says how many columns there are
        first = [kind(random.Random(1)) for kind in KINDS.values()]
        text, _ = written_csv([cell for cell, _ in first], {**form, "nullValues": []}, random.Random(1))
        rows, bad = _judged(rows, bad, [value for _, value in first], 1)
        out.append(text.encode() + ending.encode())
        line = 2 + text.count("\n")
    for _ in range(chosen.randrange(1, 9)):
        spoiled = chosen.randrange(12)
        cells = [kind(chosen) for kind in KINDS.values()]
        text, read = written_csv([cell for cell, _ in cells], form, chosen)
        values = [None if cell is None else value for cell, (_, value) in zip(read, cells, strict=True)]
        record = text.encode()
        if spoiled == 0:
            record = b""
        elif spoiled == 1 and "\n" not in text:
            record, values = record + delimiter.encode() + b"x", [BAD]
        elif spoiled == 2 and "\n" not in text:
            record, values = record + b"\xff" if not record.endswith(quote.encode()) else b"\xff" + record, [BAD]
        elif spoiled == 3:
            record, values = f"{quote}a{quote}b{delimiter}".encode(), [BAD]
        out.append(record + ending.encode())
        if record:
            rows, bad = _judged(rows, bad, values, line)
        line += 1 + record.count(b"\n")
    return b"".join(out), (rows, bad)


def _judged(rows: Counter[tuple[Any, ...]], bad: list[int], values: list[Any], line: int) -> Expected:
    if any(value is BAD for value in values):
        return rows, [*bad, line]
    return rows + Counter([tuple(repr(value) for value in values)]), bad


def a_json_file(chosen: random.Random) -> tuple[bytes, Expected]:
    rows, bad, out = Counter[tuple[Any, ...]](), list[int](), list[bytes]()
    out.append(orjson.dumps({one["name"]: None for one in FIELDS}))
    rows, bad = _judged(rows, bad, [None] * len(FIELDS), 1)
    for number in range(2, chosen.randrange(3, 12)):
        cells = [kind(chosen) for kind in KINDS.values()]
        members, values = list[str](), list[Any]()
        for one, (text, value) in zip(FIELDS, cells, strict=True):
            if chosen.random() < 0.1:
                values.append(None)
                continue
            number_like = one["type"] in ("long", "double") and re.fullmatch(
                r"-?(0|[1-9]\d*)(\.\d+)?(e[+-]?\d+)?", text
            )
            written = text if number_like and chosen.random() < 0.5 else orjson.dumps(text).decode()
            key, blank = orjson.dumps(one["name"]).decode(), chosen.choice(["", " ", chr(9)])
            members.append(f"{key}{blank}:{blank}{written}")
            values.append(value)
        chosen.shuffle(members)
        extra = chosen.choice(
            ["", '"x": [1, {"y": "}"}]', '"x": NaN', '"x": [8,]', '"x": 01', '"x": "\\x"', '"x": "\t"', "x: 1"]
        )
        line = ("{" + ", ".join([*members, *([extra] if extra else [])]) + "}").encode()
        if chosen.random() < 0.3:
            line = mutated(line, chosen)
            values = _as_orjson_reads(line, values)
        elif not _is_object(line):
            values = [BAD]
        out.append(line)
        if line.strip(b"\r"):
            rows, bad = _judged(rows, bad, values, number)
    return b"\n".join(out) + b"\n", (rows, bad)


def mutated(line: bytes, chosen: random.Random) -> bytes:
    """The line with a byte that is no line end taken out, put in or changed where a value cannot change unseen."""
    at = chosen.choice([0, len(line)])
    return line[:at] + bytes([chosen.choice(b"{}[],:\"'\\0x-+. \t\xff\x00\xef")]) + line[at:]


def _is_object(line: bytes) -> bool:
    try:
        return isinstance(orjson.loads(line), dict)
    except orjson.JSONDecodeError:
        return False


def _as_orjson_reads(line: bytes, values: list[Any]) -> list[Any]:
    return values if _is_object(line) else [BAD]


def check(pod: APod, files: Iterator[tuple[bytes, Expected]], count: int) -> int:
    """Load the files in one run; the table and the quarantine are what they should be. How many rows there were."""
    rows, bad = Counter[tuple[Any, ...]](), set[tuple[str, int]]()
    for number in range(count):
        content, (good, lines) = next(files)
        (pod.data / f"{number:04}").write_bytes(content)
        rows += good
        bad |= {(f"file:///volumes/data/{number:04}", line) for line in lines}
    report = pod.work(deadline=600)
    assert report.state == "Succeeded", report.message
    found = Counter(tuple(repr(value) for value in row.values()) for row in pod.rows())
    assert {(row["input"], row["position"]) for row in pod.bad()} ^ bad == set()
    assert (found - rows, rows - found) == (Counter(), Counter())
    assert report.datasets[0].counts.read == rows.total() + len(bad)
    return rows.total() + len(bad)


def _csv_files(seed: int, form: dict[str, Any]) -> Iterator[tuple[bytes, Expected]]:
    chosen = random.Random(seed)
    while True:
        yield a_csv_file(chosen, form)


def _json_files(seed: int) -> Iterator[tuple[bytes, Expected]]:
    chosen = random.Random(seed)
    while True:
        yield a_json_file(chosen)


@pytest.mark.parametrize("dialect", range(len(DIALECTS)))
@pytest.mark.parametrize("seed", range(ROUNDS))
def test_csv_of_every_dialect_and_type(seed: int, dialect: int, tmp_path: Path) -> None:
    form = DIALECTS[dialect]
    fields = FIELDS
    if not form.get("header", True):
        fields = [{**one, "from": f"column{number}"} for number, one in enumerate(FIELDS)]
    pod = a_pod(tmp_path, *fields, form=csv(**form))
    assert check(pod, _csv_files(1000 * seed + dialect, form), 300) > 1000


@pytest.mark.parametrize("seed", range(ROUNDS))
def test_json_of_every_type(seed: int, tmp_path: Path) -> None:
    pod = a_pod(tmp_path, *FIELDS, form={"json": {}})
    assert check(pod, _json_files(seed), 300) > 1000


PIECES = [
    b"a",
    b"1",
    b",",
    b'"',
    b'""',
    b"\n",
    b"\r\n",
    b"\r",
    b"\\",
    b"\xff",
    b"\xef\xbb\xbf",
    b"\x00",
    b"{",
    b"}",
    b"[",
    b"]",
]
PIECES += [
    b":",
    b'{"a":',
    b'"a"',
    b"NaN",
    b"-",
    b"1e9",
    b"\\u",
    b"\\ud83d",
    b"null",
    b" ",
    b"\t",
    b'{"a":1}\n',
    b'1,"x"\n',
]


def read_whole(content: bytes, form: dict[str, Any], path: Path, connection: engine.Connection) -> int:
    """How many records there are; each is either a row or a broken line. Raises what reading raises."""
    found = StoredFile("file:///volumes/data/a", "1", len(content))
    count = 0
    with reader(lambda _: io.BytesIO(content), found, Format.model_validate(form), "auto", Room(path)) as opened:
        names = opened.columns.names or ("a", "*", 'a"b', "")
        for work in opened.works_for(names):
            chunk = work(names, connection)
            broken = chunk.broken.num_rows if chunk.broken is not None else 0
            assert chunk.read == chunk.table.num_rows + broken
            assert len(chunk.lines_of(range(chunk.table.num_rows))) == chunk.table.num_rows
            count += chunk.read
    return count


@pytest.mark.parametrize("form", [csv(**dialect) for dialect in DIALECTS] + [{"json": {}}])
def test_any_bytes_are_rows_or_broken_lines_or_refused(form: dict[str, Any], tmp_path: Path) -> None:
    chosen = random.Random(str(form))
    with engine.connect(1 << 28, 1, tmp_path) as connection:
        for _ in range(400 * ROUNDS):
            content = b"".join(chosen.choices(PIECES, k=chosen.randrange(60)))
            try:
                count = read_whole(content, form, tmp_path, connection)
            except InvalidSpec:  # an UnknownError would be any other exception
                continue
            lines = [line for line in content.removeprefix(b"\xef\xbb\xbf").split(b"\n") if line not in (b"", b"\r")]
            assert count <= len(lines)
            assert "csv" in form or count == len(lines)
