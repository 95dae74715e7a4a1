"""What kind of file it is, by its first bytes, where it is not of the format that the manifest names."""

from collections.abc import Sequence
from dataclasses import dataclass

_EXPORT = "Export the data as CSV, JSON or Parquet"
_DECOMPRESS = "Decompress it, or compress it with gzip"


@dataclass(frozen=True)
class Kind:
    """A kind of file: the bytes at `offset`, what messages call it, and what to do."""

    magic: bytes
    name: str
    remedy: str
    offset: int = 0

    @property
    def end(self) -> int:
        """How many bytes of a file tell whether it is of this kind."""
        return self.offset + len(self.magic)

    def matches(self, first: bytes) -> bool:
        """Whether a file that begins so is of this kind. A text may begin alike: a column may be called PAR1."""
        if not first.startswith(self.magic, self.offset):
            return False
        if not self.magic.isascii() or not self.magic.decode().isprintable():
            return True
        return self.name == "a PDF document" or any(byte < _FIRST_OF_TEXT for byte in first[: max(64, self.end)])


_DELIMITERS = ",;\t|"
_FIRST_OF_TEXT = ord("\t")
"""The least byte that a text has."""
_KINDS = (
    Kind(b"PK\x05\x06", "an empty zip archive", "Upload the file again"),
    Kind(b"\x04\x22\x4d\x18", "compressed by lz4", _DECOMPRESS),
    Kind(b"\x1f\x9d", "compressed by compress (.Z)", _DECOMPRESS),
    Kind(b"\x89LZO\x00", "compressed by lzop", _DECOMPRESS),
    Kind(b"LZIP\x01", "compressed by lzip", _DECOMPRESS),
    Kind(b"7z\xbc\xaf\x27\x1c", "a 7z archive", "Unpack it"),
    Kind(b"Rar!\x1a\x07", "a rar archive", "Unpack it"),
    Kind(b"ustar", "a tar archive", "Unpack it", offset=257),
    Kind(b"PAR1", "a Parquet file", "Set format: {parquet: {}}, or leave the file out by glob"),
    Kind(b"ORC", "an ORC file", _EXPORT),
    Kind(b"Obj\x01", "an Avro file", _EXPORT),
    Kind(b"ARROW1\x00\x00", "an Arrow (Feather) file", _EXPORT),
    Kind(
        b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1",
        "an old Excel workbook",
        f"{_EXPORT}, or save it as .xlsx and set format: {{excel: {{}}}}",
    ),
    Kind(b"%PDF-", "a PDF document", _EXPORT),
    Kind(b"SQLite format 3\x00", "an SQLite database", "Use the connector sqlite, or export its table as CSV"),
    Kind(b"\x89HDF\r\n\x1a\n", "an HDF5 file", _EXPORT),
    Kind(b"\x89PNG\r\n\x1a\n", "an image", "Check url and glob"),
    Kind(b"\xff\xd8\xff", "an image", "Check url and glob"),
    Kind(b"GIF89a", "an image", "Check url and glob"),
)
LONGEST = max(kind.end for kind in _KINDS)
"""How many bytes of a file tell of which kind it is."""


def binary(first: bytes) -> Kind | None:
    """The kind of a file that begins so and is neither text nor compressed text that is read; None for any other."""
    return next((kind for kind in _KINDS if kind.matches(first)), None)


def text(first: str) -> str | None:
    """What to say of a text that begins so and is of another format than CSV; None where nothing is seen."""
    start = first.lstrip().lower()
    if start.startswith(("<!doctype html", "<html", "<head", "<body", "<script")):
        return "The file begins as a web page (HTML): check the URL, and open it in a browser to see what it says."
    if start.startswith(("<?xml", "<")) and ">" in start:
        return "The file begins as XML. If it is an error message of a server, check the URL and the credentials."
    if start.startswith(('{"', "{ ", "[{", "[ {")) or start.strip() in ("{", "["):
        return "The file begins as JSON: set format: {json: {}}, or check the URL."
    if start.startswith("-----begin pgp"):
        return "The file is encrypted with PGP: decrypt it before it is uploaded."
    if start.startswith("version https://git-lfs"):
        return "The file is a pointer of Git LFS, not the file itself: upload the file."
    return None


def header(names: Sequence[str], delimiter: str) -> str:
    """What to check where the columns that are needed are not among these, the header of a CSV file; "" for nothing."""
    whole = delimiter.join(names)
    if "\0" in whole:
        return "The file has NUL characters. If it is UTF-16, set format.csv.encoding: utf-16le, or utf-16be."
    if (said := text(whole)) is not None:
        return said
    if whole.lower().startswith("sep="):
        divider = whole[4:5]
        other = f' and format.csv.delimiter: "{divider}"' if divider not in ("", delimiter) else ""
        return f"The first line is a note for Excel: set format.csv.skipLines: 1{other}."
    return _about_names(names)


def _about_names(names: Sequence[str]) -> str:
    if len(names) > 1:
        is_row = any(_is_value(name) for name in names)
        return "If the first line is a row and not a header, set format.csv.header: false." if is_row else ""
    divided = any(divider in names[0] for divider in _DELIMITERS)
    later = "" if divided else " If the header is on a later line, set format.csv.skipLines."
    return f"Check delimiter.{later}"


def _is_value(name: str) -> bool:
    """Whether it looks like a number or a date, and not like the name of a column."""
    plain = name.strip()
    return bool(plain) and plain[0] in "0123456789+-." and plain[-1].isdigit() and not any(map(str.isalpha, plain))
