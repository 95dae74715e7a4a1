"""Zip archives: one file in them is read, whoever has packed it; everything else is named."""

import io
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from penstock.connectors.files.formats import packed
from penstock.connectors.files.stores import BLOCK
from penstock.language.errors import InvalidSpec
from worker.pods import a_pod, field

PLAIN = b"a,b\n" + b"".join(b"%d,x\n" % number for number in range(50_000))
Pack = Callable[[zipfile.ZipFile], None]


def archive(*packs: Pack, method: int = zipfile.ZIP_DEFLATED, seekable: bool = True) -> bytes:
    """An archive; one that is written to a stream has the sizes behind the contents."""
    target = io.BytesIO() if seekable else _Stream()
    with zipfile.ZipFile(target, "w", method) as opened:
        for pack in packs:
            pack(opened)
    return target.getvalue()


class _Stream(io.BytesIO):
    def seekable(self) -> bool:
        return False

    def seek(self, *_: int) -> int:
        raise io.UnsupportedOperation

    def tell(self) -> int:
        raise io.UnsupportedOperation


def file(name: str, content: bytes = PLAIN) -> Pack:
    return lambda opened: opened.writestr(name, content)


def wide(name: str) -> Pack:
    """With sizes of 8 bytes."""

    def pack(opened: zipfile.ZipFile) -> None:
        with opened.open(name, "w", force_zip64=True) as member:
            member.write(PLAIN)

    return pack


def content(whole: bytes, compression: str = "auto") -> bytes:
    return b"".join(packed.content(io.BytesIO(whole), "a.csv", compression))


@pytest.mark.parametrize(
    "whole",
    [
        archive(file("a.csv")),
        archive(file("a.csv"), method=zipfile.ZIP_STORED),
        archive(file("a.csv"), seekable=False),
        archive(wide("a.csv")),
        archive(wide("a.csv"), seekable=False),
        archive(wide("a.csv"), method=zipfile.ZIP_STORED),
        archive(file("in/", b""), file("in/ä.csv"), file("__MACOSX/in/._a.csv", b"\0\1")),
        archive(file("__MACOSX/._a.csv", b"more"), file("a.csv"), seekable=False),
    ],
    ids=["deflated", "stored", "streamed", "wide", "wide-streamed", "wide-stored", "folders", "macos"],
)
def test_the_one_file_is_read(whole: bytes, tmp_path: Path) -> None:
    assert content(whole) == content(whole, "zip") == PLAIN
    pod = a_pod(tmp_path, field("a", "long"))
    (pod.data / "export").write_bytes(whole)
    report = pod.work()
    assert (report.message, report.datasets[0].counts.loaded) == (None, 50_000)


def _encrypted() -> bytes:
    whole = bytearray(archive(file("a.csv")))
    whole[6] |= 1
    return bytes(whole)


@pytest.mark.parametrize(
    ("whole", "said"),
    [
        (archive(file("a.csv"), file("b.csv")), 'has several files, "a.csv" and "b.csv". Upload each by itself'),
        (archive(file("in/", b"")), "without a file"),
        (archive(file("[Content_Types].xml"), file("xl/workbook.xml")), "an Excel workbook"),
        (archive(file("docProps/app.xml"), file("[Content_Types].xml")), "an Excel workbook"),
        (archive(file("a.csv"), method=zipfile.ZIP_BZIP2), "another method than deflate"),
        (_encrypted(), "encrypted"),
        (archive(), "an empty zip archive"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_no_archive_of_one_file_is_named(whole: bytes, said: str) -> None:
    with pytest.raises(InvalidSpec, match=said):
        content(whole)


def test_what_is_cut_or_damaged_is_refused() -> None:
    whole = archive(file("a.csv"))
    middle = len(whole) // 2
    for number in (10, 33, middle):
        with pytest.raises(InvalidSpec, match="ends in the middle of its zip archive"):
            content(whole[:number])
    damaged = bytes(byte ^ 0xFF for byte in whole[middle : middle + 20])
    with pytest.raises(InvalidSpec, match=r"is not zip, or damaged|ends in the middle"):
        content(whole[:middle] + damaged + whole[middle + 20 :])
    stored = archive(file("a.csv"), method=zipfile.ZIP_STORED)
    with pytest.raises(InvalidSpec, match="is not zip, or damaged"):
        content(stored[:1000] + b"?" + stored[1001:])
    with pytest.raises(InvalidSpec, match="is not gzip"):
        content(whole, "gzip")


def test_an_archive_that_unpacks_to_much_is_read_in_pieces() -> None:
    whole = archive(file("a.csv", b"a\n" + b"1" * (64 << 20)))
    assert len(whole) < 100_000
    pieces = packed.content(io.BytesIO(whole), "a.csv", "auto")
    assert max(len(piece) for piece in pieces) <= BLOCK
