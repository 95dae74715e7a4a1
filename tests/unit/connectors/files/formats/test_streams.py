"""Gzip is unpacked in bounded pieces, whatever the number of its members and however far it expands."""

import gzip
import io
import time
import zlib

import pytest

from penstock.connectors.files.formats import streams
from penstock.connectors.files.stores import BLOCK
from penstock.language.errors import InvalidSpec


def unpacked(content: bytes) -> bytes:
    pieces = [*streams.unzipped(io.BytesIO(content), "file:///a.gz")]
    assert all(len(piece) <= BLOCK for piece in pieces)
    return b"".join(pieces)


def test_many_members_take_time_by_their_bytes() -> None:
    member = gzip.compress(b"x\n", mtime=0)
    began = time.process_time()
    assert unpacked(member * 2_000) == b"x\n" * 2_000
    small = time.process_time() - began
    began = time.process_time()
    assert unpacked(member * 40_000) == b"x\n" * 40_000
    assert time.process_time() - began < 20 * 4 * max(small, 0.02)


@pytest.mark.parametrize("rows", [1 << power for power in range(16, 23)])
def test_a_member_that_unpacks_to_much_may_be_followed_by_another(rows: int) -> None:
    """The end of such a member is found while zlib still holds back content: it names what follows twice then."""
    packed = gzip.compress(b'{"a":1,"b":"x"}\n' * rows) * 2
    assert sum(map(len, streams.unzipped(io.BytesIO(packed), "a.gz"))) == 2 * 16 * rows


def test_a_bomb_is_unpacked_piece_by_piece() -> None:
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    bomb = b"".join(packer.compress(b"\n" * (1 << 20)) for _ in range(64)) + packer.flush()
    assert len(bomb) < 100_000
    assert sum(len(piece) for piece in streams.unzipped(io.BytesIO(bomb), "file:///a.gz")) == 64 << 20


@pytest.mark.parametrize("after", [b"", b"\0" * 9, b"\0" * 100_000])
def test_zeros_may_follow_the_last_member(after: bytes) -> None:
    assert unpacked(gzip.compress(b"a", mtime=0) + after) == b"a"
    assert unpacked(gzip.compress(b"a", mtime=0) + after + gzip.compress(b"b", mtime=0)) == b"ab"


@pytest.mark.parametrize(
    "damaged", [gzip.compress(b"abc" * 1000, mtime=0)[:-4], gzip.compress(b"a", mtime=0) + b"x", b"plain", b"\x1f"]
)
def test_what_is_cut_or_no_gzip_is_refused(damaged: bytes) -> None:
    with pytest.raises(InvalidSpec) as refused:
        unpacked(damaged)
    assert refused.value.reason == "WrongSpecification"
    assert "file:///a.gz" in refused.value.message
