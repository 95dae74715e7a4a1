"""A program of its own that writes one sheet of an Excel workbook as JSON lines. It imports nothing of Penstock.

It is started by `excel` as a process: the reader loads a whole sheet into memory, where a file of a few kilobytes can
describe billions of cells, and ends the process when it gets no more memory. Then this process ends, and no other.

Settings are JSON on standard input: `path`, `output`, `sheet`, `epoch`, `longest` (characters of a row), `memory` (in
bytes) and `seconds` of processor time. The rows go to the file `output`, one JSON list a line: the number of the row in
the sheet, and its cells from the first used column on. A cell is a text, null, or a list with the text of an error
such as #N/A. Rows without a cell are left out; a row that is too long has its beginning, a text, in the place of its
cells. The answer is one JSON object on standard output: `first` column, `rows`, `sheet`; or `refused` with its details.
"""

import json
import posixpath
import re
import resource
import sys
import zipfile
from collections.abc import Iterator, Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from functools import cached_property
from typing import Any, TextIO
from xml.parsers import expat

_PIECE = 1 << 16
_SMALL_PART = 16 << 20
"""Bytes of the longest list of sheets that is read."""
_ERROR = re.compile(rb"""\st\s*=\s*["']e["']""")
_OVERLAP = 64
"""Bytes in which the attribute of an error surely fits."""
_REFERENCE = re.compile(r"([A-Z]{1,3})([0-9]{1,7})")
_BEFORE_1900, _FIRST_OF_1904 = date(1899, 12, 30), date(1904, 1, 1)
_MARCH_1900, _LEAP_DAY = date(1900, 3, 1), 60
"""Excel counts 29 February 1900, which never was, as day 60."""
_COMPOUND_FILE = bytes.fromhex("d0cf11e0a1b11ae1")
"""How old workbooks begin, and those with a password."""
_SHOWN = 4096
"""Characters that are kept of a row that is too long."""
_AMBIGUOUS = date(1900, 2, 28)
"""What the reader makes of day 59 and of day 60."""
_PLAIN_FROM, _PLAIN_BELOW = 1e-7, 1e21

Cell = str | list[str] | None


class Refused(Exception):
    """The workbook or its sheet cannot be read; `details` say why."""

    def __init__(self, kind: str, **details: Any) -> None:
        super().__init__(kind)
        self.details = {"refused": kind, **details}


def number(value: float) -> str:
    """A number as text: 1, 1.5, 12345678901234570000; with an exponent where it has more than 21 digits."""
    if value == 0:
        return "0"
    if _PLAIN_FROM <= abs(value) < _PLAIN_BELOW:
        return f"{Decimal(repr(value)):f}".removesuffix(".0")
    return repr(value)


def duration(value: timedelta) -> str:
    """Hours, minutes and seconds: 36:00:00, -1:30:00."""
    sign, value = ("-", -value) if value < timedelta() else ("", value)
    seconds, fraction = divmod(value, timedelta(seconds=1))
    milliseconds = f".{fraction // timedelta(milliseconds=1):03d}" if fraction else ""
    return f"{sign}{seconds // 3600}:{seconds // 60 % 60:02d}:{seconds % 60:02d}{milliseconds}"


def _moment(value: datetime) -> str:
    return value.isoformat(" ", "milliseconds" if value.microsecond else "seconds")


def _time(value: time) -> str:
    return value.isoformat("milliseconds" if value.microsecond else "seconds")


class _Book:
    """The parts of a workbook that the reader does not show: which part each sheet is, its epoch, its errors."""

    def __init__(self, path: str) -> None:
        """Raises Refused where the file is no workbook."""
        _refuse_compound_file(path)
        try:
            self._archive = zipfile.ZipFile(path)
        except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
            raise Refused("damaged") from None
        names = frozenset(self._archive.namelist())
        if "xl/workbook.bin" in names:
            raise Refused("binary")
        if "mimetype" in names or "content.xml" in names:
            raise Refused("opendocument")
        if "xl/workbook.xml" not in names:
            raise Refused("other")
        self.parts: dict[str, str] = {}
        self.is_1904 = False
        self._read_book()

    def _read_book(self) -> None:
        targets: dict[str, str] = {}

        def relation(name: str, attributes: dict[str, str]) -> None:
            if name == "Relationship":
                targets[attributes.get("Id", "")] = attributes.get("Target", "")

        def sheet(name: str, attributes: dict[str, str]) -> None:
            if name == "workbookPr":
                self.is_1904 = attributes.get("date1904") in ("1", "true")
            elif name == "sheet":
                target = targets.get(attributes.get("id", ""), "")
                self.parts[attributes.get("name", "")] = posixpath.normpath(
                    target.lstrip("/") if target.startswith("/") else f"xl/{target}"
                )

        for part, handler in (("xl/_rels/workbook.xml.rels", relation), ("xl/workbook.xml", sheet)):
            self._parse(part, handler, most=_SMALL_PART)

    def _parse(self, part: str, start: Any, most: int | None = None, **handlers: Any) -> None:
        """Call `start` with the local name and the attributes of each element. Raises Refused."""
        parser = expat.ParserCreate()

        def local(name: str, attributes: dict[str, str]) -> None:
            start(name.rpartition(":")[2], {key.rpartition(":")[2]: value for key, value in attributes.items()})

        def no_entities(*_: object) -> None:
            raise Refused("damaged")

        parser.StartElementHandler, parser.StartDoctypeDeclHandler = local, no_entities
        for name, handler in handlers.items():
            setattr(parser, name, handler)
        read = 0
        try:
            for piece in self._pieces(part):
                read += len(piece)
                if most is not None and read > most:
                    raise Refused("damaged")
                parser.Parse(piece, False)
            parser.Parse(b"", True)
        except expat.ExpatError:
            raise Refused("damaged") from None

    def _pieces(self, part: str) -> Iterator[bytes]:
        try:
            with self._archive.open(part) as stream:
                while piece := stream.read(_PIECE):
                    yield piece
        except (zipfile.BadZipFile, KeyError, OSError, EOFError, RuntimeError, NotImplementedError, ValueError):
            raise Refused("damaged") from None
        except Exception as error:  # zlib's own class, which has no name outside zlib
            if type(error).__module__ != "zlib":
                raise
            raise Refused("damaged") from None

    def has_errors(self, part: str) -> bool:
        """Whether some cell of the sheet has an error, such as #N/A."""
        end = b""
        for piece in self._pieces(part):
            if _ERROR.search(end + piece):
                return True
            end = piece[-_OVERLAP:]
        return False

    def marks(self, part: str) -> "_Marks":
        """The cells of the sheet that the reader does not tell apart from others."""
        marks = _Marks()
        self._parse(part, marks.start, CharacterDataHandler=marks.text, EndElementHandler=marks.end)
        return marks


def _refuse_compound_file(path: str) -> None:
    """Raise Refused where the file is not a zip archive, but an old workbook or one with a password."""
    with open(path, "rb") as file:
        end = file.read(len(_COMPOUND_FILE))
        if end != _COMPOUND_FILE:
            return
        name = "EncryptedPackage".encode("utf-16le")
        while piece := file.read(_PIECE):
            if name in end + piece:
                raise Refused("encrypted")
            end = piece[-len(name) :]
    raise Refused("old")


class _Marks:
    """Cells of a sheet by row and column, from 0: the texts of errors, and the cells that hold day 60."""

    def __init__(self) -> None:
        self.errors: dict[tuple[int, int], str] = {}
        self.leap_days: set[tuple[int, int]] = set()
        self._row = self._column = -1
        self._kind, self._inside, self._text = "", False, ""

    def start(self, name: str, attributes: dict[str, str]) -> None:
        if name == "c":
            place = _REFERENCE.fullmatch(attributes.get("r", ""))
            if place is not None:
                self._row, self._column = int(place[2]) - 1, _column_number(place[1])
            else:
                self._column += 1
            self._kind = attributes.get("t", "n")
        elif name == "row":
            self._row = int(attributes["r"]) - 1 if attributes.get("r", "").isdecimal() else self._row + 1
            self._column = -1
        elif name == "v":
            self._inside, self._text = self._kind in ("e", "n"), ""

    def text(self, data: str) -> None:
        if self._inside:
            self._text += data

    def end(self, name: str) -> None:
        if not self._inside or name.rpartition(":")[2] != "v":
            return
        self._inside = False
        if self._kind == "e":
            self.errors[self._row, self._column] = self._text.strip()
            return
        try:
            is_leap_day = int(float(self._text)) == _LEAP_DAY
        except (ValueError, OverflowError):
            return
        if is_leap_day:
            self.leap_days.add((self._row, self._column))


def _column_number(letters: str) -> int:
    column = 0
    for letter in letters:
        column = column * 26 + ord(letter) - ord("A") + 1
    return column - 1


class _Sheet:
    """One sheet, whose cells become texts. `epoch` is that of the settings, None for the workbook's own."""

    def __init__(self, book: _Book, sheet: Any, epoch: str | None) -> None:
        self._book, self._sheet = book, sheet
        self._part = book.parts.get(sheet.name, "")
        self._is_1904 = book.is_1904 if epoch is None else epoch == "1904"
        self._errors = self._marks.errors if book.has_errors(self._part) else {}
        self.first = sheet.start[1] if sheet.start is not None else 0

    @cached_property
    def _marks(self) -> _Marks:
        return self._book.marks(self._part)

    def rows(self) -> Iterator[tuple[int, list[Cell]]]:
        """The rows that have a cell, with their number in the sheet, from 1."""
        rows_with_errors = {row for row, _ in self._errors}
        for row, values in enumerate(self._sheet.iter_rows()):
            cells = [self._cell(value, row, column) for column, value in enumerate(values, self.first)]
            if row in rows_with_errors:
                for column in range(len(cells)):
                    if (row, column + self.first) in self._errors:
                        cells[column] = [self._errors[row, column + self.first]]
            if any(cell is not None for cell in cells):
                yield row + 1, cells

    def _cell(self, value: Any, row: int, column: int) -> Cell:  # noqa: PLR0911 - one case a type
        match value:
            case str():
                return value or None
            case bool():
                return "true" if value else "false"
            case float() | int():
                return number(value)
            case datetime() | date():
                return self._day(value, row, column)
            case time():
                return _time(value)
            case timedelta():
                return duration(value)
        return str(value)

    def _day(self, value: datetime | date, row: int, column: int) -> Cell:
        day = value.date() if isinstance(value, datetime) else value
        if not self._book.is_1904 and day == _AMBIGUOUS and (row, column) in self._marks.leap_days:
            serial = _LEAP_DAY
        elif self._book.is_1904:
            serial = (day - _FIRST_OF_1904).days
        else:
            serial = (day - _BEFORE_1900).days - (day < _MARCH_1900)
        if self._is_1904 == self._book.is_1904 and serial != _LEAP_DAY:
            moved = day
        elif self._is_1904:
            moved = _FIRST_OF_1904 + timedelta(serial)
        elif serial == _LEAP_DAY:
            return ["1900-02-29"]
        else:
            moved = _BEFORE_1900 + timedelta(serial + (serial < _LEAP_DAY))
        return _moment(datetime.combine(moved, value.time())) if isinstance(value, datetime) else moved.isoformat()


def _chosen(workbook: Any, wanted: str | None) -> Any:
    """The sheet of this name, whose case does not count; without one, the first worksheet that is not hidden."""
    import python_calamine

    kinds = (python_calamine.SheetTypeEnum.WorkSheet, python_calamine.SheetTypeEnum.MacroSheet)
    sheets = [each for each in workbook.sheets_metadata if each.typ in kinds]
    names = [each.name for each in sheets]
    if wanted is None:
        visible = [each.name for each in sheets if each.visible == python_calamine.SheetVisibleEnum.Visible]
        chosen: Sequence[str] = (visible or names)[:1]
    else:
        chosen = [name for name in names if name == wanted] or [
            name for name in names if name.casefold() == wanted.casefold()
        ]
    if len(chosen) != 1:
        raise Refused("sheet", names=names)
    return workbook.get_sheet_by_name(chosen[0])


def _write(settings: dict[str, Any], output: TextIO) -> dict[str, Any]:
    import python_calamine

    book = _Book(settings["path"])
    try:
        workbook = python_calamine.load_workbook(settings["path"])
        chosen = _chosen(workbook, settings["sheet"])
    except python_calamine.PasswordError:
        raise Refused("encrypted") from None
    except python_calamine.CalamineError:
        raise Refused("damaged") from None
    sheet, rows = _Sheet(book, chosen, settings["epoch"]), 0
    for row, cells in sheet.rows():
        line = json.dumps([row, cells], ensure_ascii=False, separators=(",", ":"))
        if len(line) > settings["longest"]:
            line = json.dumps([row, line[:_SHOWN]], ensure_ascii=False)
        output.write(line)
        output.write("\n")
        rows += 1
    return {"sheet": chosen.name, "first": sheet.first, "rows": rows}


def main() -> None:
    """Write the sheet that the settings name. The answer goes to standard output."""
    settings = json.load(sys.stdin)
    resource.setrlimit(resource.RLIMIT_AS, (settings["memory"],) * 2)
    resource.setrlimit(resource.RLIMIT_CPU, (settings["seconds"],) * 2)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    try:
        with open(settings["output"], "w", encoding="utf-8") as output:
            answer = _write(settings, output)
    except Refused as refused:
        answer = refused.details
    except (ValueError, LookupError, ArithmeticError):  # values in the file that make no sense
        answer = {"refused": "damaged"}
    except MemoryError:
        answer = {"refused": "large"}
    except OSError as error:
        answer = {"refused": "system", "error": error.strerror, "errno": error.errno}
    except BaseException as error:
        if type(error).__name__ != "PanicException":  # the reader's own word for a defect of it
            raise
        answer = {"refused": "damaged"}
    json.dump(answer, sys.stdout)


if __name__ == "__main__":
    main()
