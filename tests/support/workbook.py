"""Excel workbooks, as XlsxWriter writes them."""

import io
import zipfile
from collections.abc import Callable, Iterable, Sequence
from datetime import date, datetime, time, timedelta
from pathlib import Path
from typing import Any

import xlsxwriter

_FORMATS = {
    datetime: "yyyy-mm-dd hh:mm:ss.000",
    date: "yyyy-mm-dd",
    time: "hh:mm:ss",
    timedelta: "[h]:mm:ss",
}


def workbook(
    sheets: dict[str, Iterable[Sequence[Any]]], *, epoch: str = "1900", first: tuple[int, int] = (0, 0)
) -> bytes:
    """A workbook with these sheets. `first` is the row and column, from 0, of the first cell of each.

    A cell is None, a text, a number, a day or time, or a pair of a formula and its value.
    """
    file = io.BytesIO()
    with xlsxwriter.Workbook(file, {"in_memory": True, "date_1904": epoch == "1904"}) as book:
        formats = {kind: book.add_format({"num_format": code}) for kind, code in _FORMATS.items()}
        for name, rows in sheets.items():
            sheet = book.add_worksheet(name)
            for row, cells in enumerate(rows, first[0]):
                for column, cell in enumerate(cells, first[1]):
                    _write(sheet, (row, column), cell, formats)
    return file.getvalue()


def _write(sheet: Any, place: tuple[int, int], cell: Any, formats: dict[type, Any]) -> None:
    match cell:
        case None:
            return
        case bool():
            sheet.write_boolean(*place, cell)
        case str():
            sheet.write_string(*place, cell)
        case int() | float():
            sheet.write_number(*place, cell)
        case (formula, value):
            sheet.write_formula(*place, formula, None, value)
        case _:
            sheet.write_datetime(*place, cell, formats[type(cell)])


def with_part(content: bytes, name: str, change: Callable[[bytes], bytes]) -> bytes:
    """The workbook with one of its parts changed."""
    file = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as new:
        for part in old.namelist():
            new.writestr(part, change(old.read(part)) if part == name else old.read(part))
    return file.getvalue()


def save(folder: Path, name: str, content: bytes) -> None:
    """Write the workbook to the folder."""
    (folder / name).write_bytes(content)
