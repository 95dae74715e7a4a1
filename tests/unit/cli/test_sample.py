"""The quickstart's data."""

import gzip
import hashlib
from pathlib import Path

from penstock.cli import sample


def test_the_months_are_written_the_same_every_time(tmp_path: Path) -> None:
    first = sample.write(tmp_path / "a", [2, 3])
    again = sample.write(tmp_path / "b", [3, 2])
    assert [path.name for path in first] == ["flights-2013-02.csv", "flights-2013-03.csv.gz"]
    digests = [[hashlib.sha256(path.read_bytes()).hexdigest() for path in paths] for paths in (first, again)]
    assert digests[0] == digests[1]


def test_a_file_holds_its_month_and_a_header(tmp_path: Path) -> None:
    plain, zipped = sample.write(tmp_path / "a", [2, 3])
    assert len(plain.read_bytes().splitlines()) == 24_951 + 1
    lines = gzip.decompress(zipped.read_bytes()).splitlines()
    assert lines[0].startswith(b"year,month,day,")
    assert {line.split(b",", 2)[1] for line in lines[1:]} == {b"3"}


def test_nothing_unfinished_is_left(tmp_path: Path) -> None:
    sample.write(tmp_path / "a", [2])
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
