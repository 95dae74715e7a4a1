"""How large the pages of a Parquet file are, by their headers: what decoding one of them would take.

Arrow decodes a page at once, whatever its size. The headers are read here, as Thrift's compact protocol writes them,
so that a file is refused before memory is asked for.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from penstock.connectors.files.formats import kinds, packed
from penstock.language.errors import InvalidSpec

_FOOTER = 32 << 20
"""Bytes of the longest footer that is read: it takes several times as many in memory."""
LARGEST = 64 << 20
"""Bytes of the largest page that is read, unpacked."""
_SMALL = 8 << 20
"""Bytes of a column chunk whose pages are not looked at one by one."""
_HEADER = 1 << 16
"""Bytes that a page's header takes at most: it may hold statistics."""
_USUAL_HEADER = 1 << 9
"""Bytes that it usually takes."""
_REFERENCES = (2, 8)
"""Parquet's numbers of the encodings that refer to a dictionary: PLAIN_DICTIONARY and RLE_DICTIONARY."""
_ROW_GROUPS, _COLUMNS, _CRYPTO_METADATA = 4, 1, 8
"""Fields of the footer, of a row group, and of a column chunk."""
_MAGIC, _ENCRYPTED = b"PAR1", b"PARE"
_ARROW_SCHEMA, _NO_ARROW_SCHEMA = b"\x18\x0cARROW:schema\x18", b"\x18\x0cARROW:unread\x18"
"""The key of Arrow's schema in the footer, a text of 12 bytes that a text follows; and another one in its place."""


def check_footer(path: Path, url: str) -> None:
    """See that the file ends as Parquet does. Raises InvalidSpec when not, and for a footer beyond the bound."""
    size = path.stat().st_size
    with path.open("rb") as file:
        file.seek(max(size - 8, 0))
        end = file.read(8)
    if end.endswith(_ENCRYPTED):
        message = f"{url} is encrypted Parquet, which cannot be read. Decrypt it before it is uploaded."
        raise InvalidSpec(message, "WrongSpecification")
    if size < 12 or not end.endswith(_MAGIC):
        raise InvalidSpec(f"{url} is not Parquet: {_instead(path)}.", "WrongSpecification")
    length = int.from_bytes(end[:4], "little")
    if length > min(size - 12, _FOOTER):
        what = f"longer than {_FOOTER} bytes" if length <= size - 12 else "longer than the file"
        message = f"{url}: the footer of the file is {what}. Write it with fewer row groups, or upload it again."
        raise InvalidSpec(message, "WrongSpecification")


def _instead(path: Path) -> str:
    """What a file that does not end as Parquet does is, as far as that is seen, and what to do."""
    with path.open("rb") as file:
        first = file.read(kinds.LONGEST)
    if first.startswith(_MAGIC):
        return "it begins as Parquet and does not end so. Upload the whole file again"
    if not first:
        return "it is empty. Upload the file again"
    if (packing := packed.packing(first)) is not None:
        return f"it is compressed by {packing}. Decompress it: Parquet compresses its pages itself"
    if (kind := kinds.binary(first)) is not None:
        return f"it is {kind.name}. {kind.remedy}"
    return 'it does not begin and end with "PAR1". Set format to what the file has, or upload the file again'


def leave_arrow_schema_out(path: Path) -> bool:
    """Rename the key of Arrow's schema in the footer, so that the types are Parquet's; False where there is none.

    Arrow reads no column of a file in whose schema one type is unknown to it.
    """
    with path.open("r+b") as file:
        file.seek(-8, os.SEEK_END)
        begin = file.seek(-8 - int.from_bytes(file.read(4), "little"), os.SEEK_END)
        at = file.read().rfind(_ARROW_SCHEMA)
        if at < 0:
            return False
        file.seek(begin + at)
        file.write(_NO_ARROW_SCHEMA)
    return True


def encrypted_leaves(path: Path, plain_size: int) -> frozenset[int]:
    """The numbers of the columns that are encrypted where the footer is not. Arrow ends the process when asked for one.

    `plain_size` is how many bytes the footer's own content has: a signature follows it where columns are encrypted.
    """
    with path.open("rb") as file:
        file.seek(-8, os.SEEK_END)
        length = int.from_bytes(file.read(4), "little")
        if length == plain_size:
            return frozenset()
        file.seek(-8 - length, os.SEEK_END)
        groups = _Compact(file.read(length)).struct().get(_ROW_GROUPS) or []
    columns = (enumerate(group.get(_COLUMNS) or []) for group in groups)
    return frozenset(leaf for group in columns for leaf, column in group if _CRYPTO_METADATA in column)


@dataclass(frozen=True)
class Sizes:
    """Of one column: bytes of its largest page, unpacked; bytes a value, and values a row, where there are most."""

    largest: int
    density: float
    values_per_row: float = 1


def check_sizes(path: Path, metadata: Any, leaf: int, url: str) -> Sizes:
    """The sizes of the column with this number among the leaves. Raises InvalidSpec for a page beyond the bound."""
    largest, density, values_per_row = 0, 0.0, 0.0
    with path.open("rb") as file:
        for number in range(metadata.num_row_groups):
            group = metadata.row_group(number)
            chunk = group.column(leaf)
            whole = Sizes(int(chunk.total_uncompressed_size), chunk.total_uncompressed_size / max(chunk.num_values, 1))
            sizes = whole if 0 <= whole.largest <= _SMALL else _walked(file, chunk)
            if sizes.largest > LARGEST:
                message = (
                    f'{url}: the column "{chunk.path_in_schema}" has a page of {sizes.largest} bytes in row group '
                    f"{number}; at most {LARGEST} are read. Write the file with smaller pages."
                )
                raise InvalidSpec(message, "WrongSpecification")
            largest, density = max(largest, sizes.largest), max(density, sizes.density)
            values_per_row = max(values_per_row, chunk.num_values / max(group.num_rows, 1))
    return Sizes(largest, density, values_per_row)


def are_references(path: Path, metadata: Any, leaf: int) -> bool:
    """Whether all values of the column with this number among the leaves are references to a dictionary.

    Writers begin with a dictionary, and write the values themselves once it has grown too large.
    """
    with path.open("rb") as file:
        for number in range(metadata.num_row_groups):
            chunk = metadata.row_group(number).column(leaf)
            if not chunk.num_values:
                continue
            if not chunk.has_dictionary_page:
                return False
            if any(not page.dictionary and page.encoding not in _REFERENCES for page in _headers(file, chunk)):
                return False
    return True


def _walked(file: BinaryIO, chunk: Any) -> Sizes:
    """The sizes of a column chunk, by walking over its pages' headers."""
    largest, density = 0, 0.0
    for page in _headers(file, chunk):
        values = max(chunk.num_values, 1) if page.dictionary else page.values
        largest, density = max(largest, page.unpacked), max(density, page.unpacked / max(values, 1))
    return Sizes(largest, density)


@dataclass(frozen=True)
class _Header:
    """A page's header: the page's bytes unpacked and packed, its values, and the bytes of the header itself."""

    unpacked: int
    packed: int
    values: int
    dictionary: bool
    encoding: int
    length: int


def _headers(file: BinaryIO, chunk: Any) -> Iterator[_Header]:
    """The headers of a column chunk's pages, in order."""
    starts = [chunk.data_page_offset, chunk.dictionary_page_offset]
    at = min(start for start in starts if start)
    end = at + int(chunk.total_compressed_size)
    while at < end:
        file.seek(at)
        written = file.read(min(_USUAL_HEADER, end - at))
        try:
            page = _header(written)
        except _Cut:
            page = _header(written + file.read(min(_HEADER, end - at) - len(written)))
        yield page
        at += page.length + page.packed


def _header(data: bytes) -> _Header:
    reader = _Compact(data)
    fields = reader.struct()
    kinds = [fields[number] for number in (5, 7, 8) if isinstance(fields.get(number), dict)]
    unpacked, packed, values = fields.get(2), fields.get(3), kinds[0].get(1) if kinds else 0
    if not all(isinstance(number, int) and number >= 0 for number in (unpacked, packed, values)):
        raise ValueError("a page's header has no sizes")
    encoding = kinds[0].get(4 if 8 in fields else 2) if kinds else None
    return _Header(
        unpacked=int(unpacked or 0),
        packed=int(packed or 0),
        values=int(values or 0),
        dictionary=7 in fields,
        encoding=encoding if isinstance(encoding, int) else -1,
        length=reader.at,
    )


class _Cut(ValueError):
    """The bytes of a page's header end before it does."""


class _Compact:
    """Thrift's compact protocol: integers, structures and lists are kept, all else is skipped."""

    def __init__(self, data: bytes) -> None:
        self._data, self.at = data, 0

    def struct(self) -> dict[int, Any]:
        """The fields of a structure: integers, structures, lists of these, and None for all else."""
        fields: dict[int, Any] = {}
        number = 0
        while kind := self._byte():
            number = number + (kind >> 4) if kind >> 4 else self._signed()
            fields[number] = self._value(kind & 15)
        return fields

    def _value(self, kind: int) -> Any:
        if kind in (4, 5, 6):
            return self._signed()
        if kind == 12:
            return self.struct()
        if kind == 3:
            self._byte()
        elif kind == 7:
            self.at += 8
        elif kind == 8:
            length = self._number()
            self.at += length
        elif kind in (9, 10):
            return self._list()
        elif kind not in (1, 2):
            raise ValueError("a page's header cannot be read")
        return None

    def _list(self) -> list[Any]:
        begin = self._byte()
        count, kind = begin >> 4 if begin >> 4 != 15 else self._number(), begin & 15
        if kind in (1, 2):
            self.at += count
            return []
        return [self._value(kind) for _ in range(count)]

    def _byte(self) -> int:
        if self.at >= len(self._data):
            raise _Cut("a page's header is cut")
        self.at += 1
        return self._data[self.at - 1]

    def _number(self) -> int:
        number = shift = 0
        while (byte := self._byte()) & 128:
            number |= (byte & 127) << shift
            shift += 7
        return number | byte << shift

    def _signed(self) -> int:
        number = self._number()
        return (number >> 1) ^ -(number & 1)
