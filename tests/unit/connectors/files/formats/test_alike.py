"""Lines of JSON that are alike are read together; that never changes what they hold."""

import random
from collections.abc import Iterator

import pytest

from penstock.connectors.files.formats import alike, jsonlines, records
from penstock.worker.ports.chunks import Chunk

PLAIN = ["7", "-0", "1e5", "12.50", "null", "true", "false", '""', '"a"', '"x,y"', '"a,"', '"é日"', '"}{"', '","']
OTHER = [
    '"a\\n\\u00e9\\"b"',
    "01",
    "NaN",
    "+1",
    "1.",
    ".5",
    "-",
    '"',
    "'a'",
    "tru",
    "[1,2]",
    '{"z":1}',
    "",
    '"\\ud800"',
]
OTHER += ["1 2", '1,"q":2', '"x","a":"y"']
NAMES = ["a", "b", "c", "a,", "A", 'q\\"x', "", "é"]


def _line(chance: random.Random, names: list[str], cut: str, colon: str) -> bytes:
    some = chance.sample(names, chance.randrange(len(names) + 1)) if chance.random() < 0.1 else names
    if chance.random() < 0.03:
        some = [*some, chance.choice(names)]
    values = [chance.choice(PLAIN if chance.random() < 0.98 else OTHER) for _ in some]
    members = (f'"{name}"{colon}{value}' for name, value in zip(some, values, strict=True))
    line = bytearray(("{" + cut.join(members) + "}").encode())
    if chance.random() < 0.05:
        place = chance.randrange(len(line))
        line[place : place + chance.randrange(2)] = bytes([chance.choice(b'{}[],:"\\ \t\x1f\xff1ae\r')])
    return bytes(line) + (b"\r\n" if chance.random() < 0.02 else b"\n")


def _rows(chunks: Iterator[Chunk]) -> tuple[list[dict[str, str | None]], list[object]]:
    rows: list[dict[str, str | None]] = []
    broken: list[object] = []
    for chunk in chunks:
        rows += chunk.table.to_pylist()
        assert chunk.table.num_rows + (chunk.broken.num_rows if chunk.broken is not None else 0) == chunk.read
        for line in chunk.broken.to_pylist() if chunk.broken is not None else ():
            broken.append({name: value for name, value in line.items() if name != "line"})
    return rows, broken


@pytest.mark.parametrize("seed", range(60))
def test_lines_read_together_are_as_lines_read_alone(seed: int) -> None:
    chance = random.Random(seed)
    names = chance.sample(NAMES, chance.randrange(1, 6))
    cut, colon = chance.choice([",", ", ", " ,"]), chance.choice([":", ": "])
    lines = [_line(chance, names, cut, colon) for _ in range(300)]
    keys = [name.replace('\\"', '"') for name in names] + ["missing"]
    together = _rows(jsonlines.chunk(block, keys) for block in records.line_blocks(iter([b"".join(lines)])))
    alone = _rows(jsonlines.chunk(block, keys) for line in lines for block in records.line_blocks(iter([line])))
    assert together == alone


def test_lines_of_several_layouts_are_read_together() -> None:
    lines = [b'{"a":1,"b":"x"}\n', b'{"b":"y","a":2}\n', b'{"a":3}\n', b'{"a":[4]}\n'] * 100
    parts, others = alike.read(b"".join(lines), len(lines), jsonlines.layout)
    assert [part.names for part in parts] == [("a", "b"), ("b", "a"), ("a",)]
    assert others == [*range(3, len(lines), 4)]
