"""Compressed files: every kind that is read, by its first bytes; whole, cut, damaged, several members, bombs."""

import bz2
import gzip
import io
import lzma
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, cast

import pytest
import snappy
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
    "snappy": lambda content: bytes(snappy.StreamCompressor().compress(content)),
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


def in_hadoops_format(content: bytes, block: int = 100_000) -> bytes:
    """As BlockCompressorStream writes it: the size of each block, then that of each part and the part."""
    written = b""
    for start in range(0, len(content), block):
        whole = content[start : start + block]
        parts = [snappy.compress(whole[at : at + 60_000]) for at in range(0, len(whole), 60_000)]
        written += len(whole).to_bytes(4, "big") + b"".join(len(part).to_bytes(4, "big") + part for part in parts)
    return written or bytes(4)


def test_snappy_as_hadoop_writes_it() -> None:
    whole = in_hadoops_format(PLAIN)
    assert content(whole) == content(whole, "snappy") == PLAIN
    assert content(in_hadoops_format(b"a\n")) == b"a\n"
    assert content(in_hadoops_format(b"")) == b""
    assert max(map(len, packed.content(io.BytesIO(in_hadoops_format(PLAIN * 40, 8 << 20)), "a", "auto"))) <= BLOCK
    for wrong in (whole[:20], whole[:-1], whole[: len(whole) // 2]):
        with pytest.raises(InvalidSpec, match="ends in the middle of its snappy stream"):
            content(wrong)
    for wrong in (whole + b"a,b\n", whole[:8] + b"\xff" + whole[9:], whole[:4] + bytes(4) + whole[8:]):
        with pytest.raises(InvalidSpec, match=r"is not snappy|ends in the middle"):
            content(wrong, "snappy")


def test_snappy_pieces_that_are_stored_skipped_or_unknown() -> None:
    compressor = snappy.StreamCompressor()
    whole = bytes(compressor.compress(b"a\n"))
    for more in (b"\xfe\x03\0\0xyz", b"\x80\0\0\0", whole[:10]):  # padding, skippable, another identifier
        assert content(whole + more + whole[10:]) == b"a\na\n"
    for more in (b"\x02\x03\0\0xyz", b"\xff\x06\0\0sNaPpX", b"\0\xff\xff\xffx", b"\x01\x05\0\0\0\0\0\0a"):
        with pytest.raises(InvalidSpec, match="is not snappy, or damaged"):
            content(whole + more)


@pytest.mark.parametrize("name", ["a.csv.snappy", "a.csv.sz", "a.csv.zst", "a.csv.bz2", "a.csv.xz", "a.csv.zip"])
def test_a_name_that_lies(name: str) -> None:
    assert b"".join(packed.content(io.BytesIO(PLAIN), name, "auto")) == PLAIN
    assert b"".join(packed.content(io.BytesIO(KINDS["gzip"](PLAIN)), name, "auto")) == PLAIN
    bare = snappy.compress(PLAIN)  # without a frame it says nothing of itself
    with pytest.raises(InvalidSpec, match=f"{name} is not [a-z0-9]+( in the framing format or in that of Hadoop)?, or"):
        list(packed.content(io.BytesIO(bare), name, "auto"))
    with pytest.raises(InvalidSpec, match="is not snappy in the framing format or in that of Hadoop"):
        content(bare, "snappy")


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
