"""One reader for each format: the file's columns first, then its blocks in order, each parsed by whichever thread."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from penstock.connectors.files.formats import excel, parquet, textfiles
from penstock.connectors.files.formats.block import Work
from penstock.connectors.files.formats.counting import Rows
from penstock.connectors.files.spec import Format
from penstock.connectors.files.stores import Open, StoredFile
from penstock.worker.ports.chunks import Columns


@dataclass(frozen=True)
class Reader:
    """A file being read. Its works are to be taken in order, by one thread, and may be done in any."""

    columns: Columns
    works: Iterator[Work]
    close: Callable[[], None] = lambda: None
    partial_works: Callable[[Sequence[str]], Iterator[Work]] | None = None
    """The works that read the columns of these names, where others can be left out."""
    most_rows: Callable[[], int | None] = lambda: None
    """How many rows there are at most, by what has been read of the file so far; None where that is not known."""

    def works_for(self, names: Sequence[str]) -> Iterator[Work]:
        """The works; `names` are those of the columns that are needed, in the order that chunks are to have them."""
        return self.works if self.partial_works is None else self.partial_works(names)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@dataclass(frozen=True)
class Room:
    """What a file may use while it is read: a folder, and the memory of the Pod in bytes, None without a limit."""

    scratch: Path
    memory: int | None = None


def reader(opened: Open, stored: StoredFile, form: Format, compression: str, room: Room) -> Reader:
    """Open a file, with `opened`, and read as far as its column names.

    Raises InvalidSpec (WrongSpecification) when the file is not of that format at all.
    """
    if form.parquet is not None:
        return _parquet(opened, stored, room.scratch)
    if form.excel is not None:
        sheet = excel.ExcelFile(opened, stored, form.excel, room.scratch, room.memory)
        return Reader(sheet.columns, sheet.works(sheet.columns.names), sheet.close, sheet.works, lambda: sheet.rows)
    stream, rows = opened(stored), Rows(stored.size)
    try:
        columns, works = textfiles.read(stream, stored.url, form, compression, rows)
    except BaseException:
        stream.close()
        raise
    return Reader(columns, works, stream.close, most_rows=rows.most)


def _parquet(opened: Open, stored: StoredFile, scratch: Path) -> Reader:
    file = parquet.ParquetFile(opened, stored, scratch)
    rows = file.rows
    return Reader(file.columns, iter(()), file.close, file.works, lambda: rows)
