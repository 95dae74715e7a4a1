"""Reading one sheet of an Excel workbook: its rows as columns of text, each row with its number in the sheet.

The sheet is loaded as a whole, by a process of its own (`worksheet`) whose memory is bounded, one at a time: a workbook
of a few kilobytes can describe billions of cells. That process writes the rows to a file, and ends; they are read from
there in blocks.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from threading import Lock
from typing import Any

from penstock.connectors.files.formats import copies, excelrows
from penstock.connectors.files.formats.block import Work
from penstock.connectors.files.spec import ExcelFormat
from penstock.connectors.files.stores import Open, StoredFile
from penstock.language.errors import InvalidSpec, NotYet
from penstock.worker.ports.chunks import Chunk, Columns

_PROGRAM = Path(__file__).with_name("worksheet.py")
_SHARE, _LEAST, _MOST = 4, 128 << 20, 1 << 30
"""A sheet may take this part of the Pod's memory: a quarter, and within these bounds in bytes."""
_NO_LIMIT = 2 << 30
"""The Pod's memory where it has no limit."""
_SECONDS = 300
"""Seconds of processor time that a sheet may take."""
_BYTES, _ROWS = 2 << 20, 1 << 13
"""Bytes and rows of a block, about."""
_NAMES_SHOWN = 20
_REMEDY = "Save it as an Excel workbook (.xlsx), or have it exported as CSV or Parquet."
_REFUSALS: Mapping[str, str] = {
    "damaged": "is not an Excel workbook (.xlsx), or damaged. Upload the whole file again, or check format.",
    "encrypted": "is protected by a password. Save it without one.",
    "old": f"is an old Excel workbook (.xls). {_REMEDY}",
    "binary": f"is a binary Excel workbook (.xlsb). {_REMEDY}",
    "opendocument": f"is an OpenDocument file. {_REMEDY}",
    "other": f"is a zip archive and not an Excel workbook. {_REMEDY}",
}
_one_at_a_time = Lock()


class ExcelFile:
    """One sheet, being read. `columns` are those that have a name; `rows` is how many rows there are at most."""

    def __init__(self, opened: Open, stored: StoredFile, form: ExcelFormat, scratch: Path, memory: int | None) -> None:
        """Load the sheet; `memory` is that of the Pod, in bytes. Raises InvalidSpec (WrongSpecification), NotYet."""
        self._form = form
        handle, name = tempfile.mkstemp(dir=scratch, suffix=".rows")
        os.close(handle)
        self._path = Path(name)
        try:
            answer = _load(opened, stored, form, self._path, memory)
            self.rows = int(answer["rows"])
            self._read_header(str(answer["sheet"]), int(answer["first"]), stored.url)
        except BaseException:
            self.close()
            raise

    def _read_header(self, sheet: str, first: int, url: str) -> None:
        """Read the columns: by the first row, or by their letters. `first` is the sheet's first used column, from 0."""
        line = next(self._lines(), b"[0,[]]")
        row, cells = json.loads(line)
        if isinstance(cells, str):
            message = (
                f"{url}: the header, row {row} of the sheet {sheet}, is longer than {excelrows.LONGEST} characters."
            )
            raise InvalidSpec(message, "WrongSpecification")
        letters = tuple(_letters(first + place) for place in range(len(cells)))
        names = tuple(cell if isinstance(cell, str) else "" for cell in cells) if self._form.header else letters
        self._header = int(row) if self._form.header else 0
        self._layout = excelrows.Layout(sheet, names, letters, frozenset(self._form.null_values))
        named = tuple(name for name in names if name)
        self.columns = Columns(named, ("VARCHAR",) * len(named), partial=True, as_written=True)

    def close(self) -> None:
        """Remove the file with the rows."""
        self._path.unlink(missing_ok=True)

    def works(self, names: Sequence[str]) -> Iterator[Work]:
        """What parses the rows, in order, with the columns of these names."""
        places = [self._layout.names.index(name) for name in names]
        for lines in self._blocks():
            yield partial(_chunk, excelrows.Block(lines, self._layout), places)

    def _lines(self) -> Iterator[bytes]:
        """The rows after those that are skipped."""
        skipped = self._form.skip_rows or 0
        with self._path.open("rb") as file:
            for line in file:
                if excelrows.number_of(line) > skipped:
                    yield line

    def _blocks(self) -> Iterator[list[bytes]]:
        lines, size = list[bytes](), 0
        for line in self._lines():
            if excelrows.number_of(line) == self._header:
                continue
            lines.append(line)
            size += len(line)
            if size >= _BYTES or len(lines) >= _ROWS:
                yield lines
                lines, size = [], 0
        if lines:
            yield lines


def _chunk(block: excelrows.Block, places: Sequence[int], *_: object) -> Chunk:
    return excelrows.chunk(block, places)


def _letters(column: int) -> str:
    """What a sheet calls its column: A, …, Z, AA, …"""
    letters, column = "", column + 1
    while column:
        column, letter = divmod(column - 1, 26)
        letters = chr(ord("A") + letter) + letters
    return letters


def _load(opened: Open, stored: StoredFile, form: ExcelFormat, output: Path, memory: int | None) -> dict[str, Any]:
    """Write the rows of the sheet to `output`; what `worksheet` answers. Raises InvalidSpec, NotYet."""
    copy = copies.local_copy(opened, stored, output.parent, ".xlsx")
    most = max(_LEAST, min(_MOST, (memory or _NO_LIMIT) // _SHARE))
    settings = {
        "path": str(copy), "output": str(output), "sheet": form.sheet, "epoch": form.epoch,
        "longest": excelrows.LONGEST, "memory": most, "seconds": _SECONDS,
    }  # fmt: skip
    try:
        with _one_at_a_time:
            ended = subprocess.run(
                [sys.executable, "-I", str(_PROGRAM)],
                input=json.dumps(settings).encode(),
                capture_output=True,
                check=False,
            )
    finally:
        copy.unlink(missing_ok=True)
    answer: dict[str, Any] = {"refused": _cause(ended)} if ended.returncode else json.loads(ended.stdout)
    if "refused" in answer:
        raise _refusal(answer, stored.url, form, most)
    return answer


def _cause(ended: "subprocess.CompletedProcess[bytes]") -> str:
    """Why the process ended without an answer. Raises RuntimeError for a defect of ours."""
    if ended.returncode in (-signal.SIGABRT, -signal.SIGKILL, -signal.SIGSEGV) or b"MemoryError" in ended.stderr:
        return "large"
    if ended.returncode == -signal.SIGXCPU:
        return "slow"
    raise RuntimeError(
        f"reading a sheet ended with {ended.returncode}: {ended.stderr[-2000:].decode(errors='replace')}"
    )


def _refusal(answer: Mapping[str, Any], url: str, form: ExcelFormat, most: int) -> InvalidSpec | NotYet:
    match answer["refused"]:
        case "sheet":
            names = ", ".join(f'"{name[:64]}"' for name in answer["names"][:_NAMES_SHOWN]) or "none"
            wanted = f'no sheet "{form.sheet}"' if form.sheet is not None else "no worksheet"
            message = f"{url} has {wanted}; there are {names}. Check format.excel.sheet."
        case "large":
            message = f"{url}: the sheet takes more than {most >> 20} MiB of memory. Raise the memory of the worker, "
            message += "have the sheet divided, or have it exported as CSV or Parquet."
        case "slow":
            message = (
                f"{url}: reading the sheet took more than {_SECONDS} s of processor time. Have it exported as CSV."
            )
        case "system":
            return NotYet(
                f"{url}: the sheet cannot be written to the scratch folder: {answer['error']}.", "StorageFull"
            )
        case kind:
            message = f"{url} {_REFUSALS[str(kind)]}"
    return InvalidSpec(message, "WrongSpecification")
