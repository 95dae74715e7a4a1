"""Compressed files: every kind that is read, by its first bytes; whole, cut, damaged, several members, bombs."""

import bz2
import gzip
import io
import lzma
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, cast

import pytest
import zstandard

from penstock.connectors.files.formats import packed
from penstock.connectors.files.stores import BLOCK
from penstock.language.errors import InvalidSpec, NotYet
from worker.pods import a_pod, field

PLAIN = b"a,b\n" + b"".join(b"%d,x\n" % number for number in range(50_000))
KINDS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "bzip2": bz2.compress,
    "xz": lzma.compress,
    "zstd": lambda content: zstandard.ZstdCompressor(write_checksum=True).compress(content),
}


def content(compressed: bytes, compression: str = "auto") -> bytes:
    return b"".join(packed.content(io.BytesIO(compressed), "a.csv", compression))


@pytest.mark.parametrize("kind", KINDS)
def test_files_are_loaded_whatever_their_name(kind: str, tmp_path: Path) -> None:
    pod = a_pod(tmp_path, field("a", "long"))
    (pod.data / "1.csv").write_bytes(KINDS[kind](PLAIN))
    report = pod.work("auto")
    assert (report.message, report.datasets[0].counts.loaded) == (None, 50_000)
    assert content(KINDS[kind](PLAIN), kind) == PLAIN
    for other in KINDS.keys() - {kind}:
        with pytest.raises(InvalidSpec, match=f"is not {other}"):
            content(KINDS[kind](PLAIN), other)


@pytest.mark.parametrize("kind", KINDS)
def test_members_that_follow_each_other_are_one_file(kind: str) -> None:
    many = b"".join(KINDS[kind](b"%d\n" % number) for number in range(3_000))
    assert content(many) == b"".join(b"%d\n" % number for number in range(3_000))
    assert content(KINDS[kind](b"") + KINDS[kind](b"a\n")) == b"a\n"


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_cut_damaged_or_followed_by_something_else_is_refused(kind: str) -> None:
    whole = KINDS[kind](PLAIN)
    middle = len(whole) // 2
    for number in (12, middle, len(whole) - 1):
        with pytest.raises(InvalidSpec, match=f"ends in the middle of its {kind} stream"):
            content(whole[:number])
    damaged = bytes(byte ^ 0xFF for byte in whole[middle : middle + 20])
    for wrong in (whole + b"a,b\n1,x\n", whole[:middle] + damaged + whole[middle + 20 :]):
        with pytest.raises(InvalidSpec, match=f"is not {kind}, or damaged|ends in the middle of its {kind}"):
            content(wrong)


@pytest.mark.parametrize("kind", KINDS)
def test_a_small_file_that_unpacks_to_much_is_read_in_pieces(kind: str) -> None:
    bomb = KINDS[kind](b"1\n" * (50 << 20))
    sizes = [len(piece) for piece in packed.content(io.BytesIO(bomb), "a.csv", "auto")]
    assert sum(sizes) == 100 << 20
    assert max(sizes) <= BLOCK


class Broken(io.RawIOBase):
    """A stream whose connection is cut after some bytes."""

    def __init__(self, content: bytes) -> None:
        self._content = io.BytesIO(content)

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        block = self._content.read(size)
        if not block:
            raise NotYet("the connection was cut", "Unreachable")
        return block


@pytest.mark.parametrize("kind", KINDS)
def test_a_connection_that_is_cut_is_not_said_to_be_a_damaged_file(kind: str) -> None:
    stream = cast(BinaryIO, Broken(KINDS[kind](PLAIN)[:5_000]))
    with pytest.raises(NotYet, match="the connection was cut"):
        list(packed.content(stream, "a.csv", "auto"))


def test_a_text_that_begins_as_bzip2_does() -> None:
    for text in (b"BZhang,b\n1,2\n", b"BZh", b"BZh9\n1\n"):
        assert content(text) == text


@pytest.mark.parametrize(("compression", "end"), [("gzip", ".csv.gz"), ("zstd", ".csv.zst")])
def test_delivered_files_are_compressed(compression: str, end: str, tmp_path: Path) -> None:
    pod = a_pod(tmp_path, field("a", "long"))
    (pod.data / "1.csv").write_bytes(b"a\n1\n2\n")
    pod.work("r1")
    place = {"url": "file:///volumes/out/", "volume": {"claimName": "out"}, "compression": compression}
    there = {"name": "out", "connector": {"files": place}}
    pod.more = {"delivery": {"destination": there, "format": {"csv": {}}}, "identity": "demo/daily"}
    report = pod.work("d1", kind="deliver")
    assert report.delivery is not None, report.message
    [delivered] = [path for path in pod.out.iterdir() if path.name.endswith(end)]
    assert sorted(content(delivered.read_bytes()).split()) == [b"1", b"2", b"a"]
