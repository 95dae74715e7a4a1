"""Excel workbooks: what each cell becomes, where each row is, and what is refused before it takes memory."""

import json
from datetime import date, datetime, time, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from penstock.connectors.files.formats import excel, excelrows
from penstock.connectors.files.source import FilesSource as FilesSourceReader
from penstock.connectors.files.spec import ExcelFormat, FilesDestination, FilesSource
from penstock.connectors.files.stores import StoredFile
from penstock.language.errors import InvalidSpec
from penstock.runs.order import SourceOrder
from penstock.worker.pod import Pod
from penstock.worker.rows import engine
from support.workbook import with_part, workbook
from worker.pods import APod, a_pod, field

SHEET = "xl/worksheets/sheet1.xml"


def sheet(content: bytes, tmp_path: Path, memory: int | None = None, **settings: Any) -> excel.ExcelFile:
    """The sheet, opened."""
    form = ExcelFormat.model_validate(settings)
    path = tmp_path / "book"
    path.write_bytes(content)
    stored = StoredFile("file:///volumes/data/book.xlsx", "1", len(content))
    return excel.ExcelFile(lambda _: path.open("rb"), stored, form, tmp_path, memory)


def rows(content: bytes, tmp_path: Path, **settings: Any) -> list[tuple[str | None, ...]]:
    """All rows: their texts, errors in angle brackets."""
    opened, read = sheet(content, tmp_path, **settings), list[tuple[str | None, ...]]()
    with engine.small() as connection:
        for work in opened.works(opened.columns.names):
            chunk = work((), connection)
            columns = [column.to_pylist() for column in chunk.table.columns]
            for cell in chunk.exact:
                columns[int(cell.column[1:])][cell.row] = f"<{cell.text}>"
            read += zip(*columns, strict=True)
    opened.close()
    assert [path.name for path in tmp_path.iterdir()] == ["book"]
    return read


CELLS: list[tuple[Any, str | None]] = [
    (1, "1"), (-1.5, "-1.5"), (0, "0"), (0.1, "0.1"), (123456789012345, "123456789012345"),
    (1e15, "1000000000000000"),
    (1e20, "100000000000000000000"), (0.000001, "0.000001"), (1e300, "1e+300"), (60, "60"),
    ("007", "007"), ("1.0", "1.0"), (" a\n\"ä\" ", " a\n\"ä\" "), ("_x0041_", "_x0041_"), ("", None), (None, None),
    (True, "true"), (False, "false"), (("=1+1", 2), "2"), (("=A1", "text"), "text"), (("=1=1", True), "true"),
    (("=NA()", "#N/A"), "<#N/A>"), (("=1/0", "#DIV/0!"), "<#DIV/0!>"),
    (date(2024, 1, 31), "2024-01-31"), (date(1904, 1, 2), "1904-01-02"), (date(9999, 12, 31), "9999-12-31"),
    (datetime(2024, 1, 31, 12, 30), "2024-01-31 12:30:00"),
    (datetime(2024, 1, 31, 12, 30, 15, 123000), "2024-01-31 12:30:15.123"),
    (time(12, 30), "12:30:00"), (timedelta(days=1, hours=12, seconds=1), "36:00:01"),
]  # fmt: skip


@pytest.mark.parametrize("epoch", ["1900", "1904"])
def test_each_cell_is_what_the_workbook_says(epoch: str, tmp_path: Path) -> None:
    content = workbook({"Orders": [["a", "b"], *(["x", cell] for cell, _ in CELLS)]}, epoch=epoch)
    assert rows(content, tmp_path) == [("x", expected) for _, expected in CELLS]


def test_the_date_that_was_none_is_no_value(tmp_path: Path) -> None:
    """Excel counts 29 February 1900; days before it are one less than other programs believe."""
    days = [date(1900, 1, 1), date(1900, 2, 28), date(1900, 3, 1)]
    content = workbook({"A": [["d"], *([day] for day in days)]})
    assert [text for (text,) in rows(content, tmp_path)] == ["1900-01-01", "1900-02-28", "1900-03-01"]
    content = with_part(content, SHEET, lambda part: part.replace(b"<v>59</v>", b"<v>60</v>"))
    assert [text for (text,) in rows(content, tmp_path)] == ["1900-01-01", "<1900-02-29>", "1900-03-01"]


@pytest.mark.parametrize(
    ("said", "wanted", "expected"), [("1900", "1904", "2028-02-01"), ("1904", "1900", "2020-01-30")]
)
def test_the_epoch_can_be_set_where_a_program_lost_it(said: str, wanted: str, expected: str, tmp_path: Path) -> None:
    content = workbook({"A": [["d", "t"], [date(2024, 1, 31), datetime(2024, 1, 31, 6)]]}, epoch=said)
    assert rows(content, tmp_path, epoch=wanted) == [(expected, f"{expected} 06:00:00")]
    assert rows(content, tmp_path, epoch=said) == [("2024-01-31", "2024-01-31 06:00:00")]


def test_rows_and_columns_are_where_the_sheet_has_them(tmp_path: Path) -> None:
    content = workbook({"Orders": [["Report"], [], ["id", None, "id"], ["1", "note", None], [], ["2"]]}, first=(3, 2))
    opened = sheet(content, tmp_path, skipRows=5)
    assert opened.columns.names == ("id", "id")
    [work] = opened.works(["id"])
    with engine.small() as connection:
        chunk = work((), connection)
    assert (chunk.table["c0"].to_pylist(), chunk.lines_of([0, 1]), chunk.section) == (["1", "2"], [7, 9], "Orders!")
    assert chunk.written is not None
    shown = chunk.written.payloads([0, 1], frozenset()).to_pylist()
    assert json.loads(shown[0]["payload"]) == {"id (C)": "1", "D": "note", "id (E)": None}
    opened.close()
    assert rows(content, tmp_path, header=False)[:2] == [("Report", None, None), ("id", None, "id")]
    assert rows(workbook({"A": []}), tmp_path) == []


def test_of_merged_cells_the_first_has_the_value(tmp_path: Path) -> None:
    content = workbook({"A": [["a", "b"], ["both", None], ["1", "2"]]})
    merged = b'</sheetData><mergeCells count="1"><mergeCell ref="A2:B2"/></mergeCells>'
    content = with_part(content, SHEET, lambda part: part.replace(b"</sheetData>", merged))
    assert rows(content, tmp_path) == [("both", None), ("1", "2")]


def test_a_sheet_that_is_not_there_names_those_that_are(tmp_path: Path) -> None:
    content = workbook({"Orders": [["a"], ["1"]], "Old & new": [["b"], ["2"]]})
    assert rows(content, tmp_path) == [("1",)]
    assert rows(content, tmp_path, sheet="old & NEW") == [("2",)]
    with pytest.raises(
        InvalidSpec, match=r'has no sheet "Custom"; there are "Orders", "Old & new"\. Check format'
    ) as no:
        sheet(content, tmp_path, sheet="Custom")
    assert no.value.reason == "WrongSpecification"
    hide = (b'<sheet name="Orders"', b'<sheet state="hidden" name="Orders"')
    assert rows(with_part(content, "xl/workbook.xml", lambda part: part.replace(*hide)), tmp_path) == [("2",)]


def test_what_is_no_workbook_is_refused_with_what_it_is(tmp_path: Path) -> None:
    whole = workbook({"A": [["a", "b"], *([str(number), number] for number in range(2000))]})
    old = bytes.fromhex("d0cf11e0a1b11ae1") + bytes(3000)
    locked = old + "EncryptedPackage".encode("utf-16le") + bytes(70_000)
    damaged = r"is not an Excel workbook \(\.xlsx\), or damaged"
    cut_sheet = with_part(whole, SHEET, lambda part: part[:-3000])
    entities = with_part(
        whole, "xl/workbook.xml", lambda part: part.replace(b"<workbook ", b"<!DOCTYPE a []><workbook ", 1)
    )
    middle = len(whole) // 2
    wrong = whole[:middle] + bytes(byte ^ 0xFF for byte in whole[middle : middle + 40]) + whole[middle + 40 :]
    binary = with_part(whole, "none", bytes).replace(b"xl/workbook.xml", b"xl/workbook.bin")
    cases = [
        (b"", damaged), (b"a,b\n1,2\n", damaged), (whole[: len(whole) // 2], damaged), (wrong, damaged),
        (cut_sheet, damaged), (entities, damaged), (locked, "is protected by a password"),
        (old, "an old Excel workbook"), (binary, "a binary Excel workbook"),
    ]  # fmt: skip
    for content, said in cases:
        with pytest.raises(InvalidSpec, match=said) as refused:
            sheet(content, tmp_path)
        assert refused.value.reason == "WrongSpecification"
        assert "file:///volumes/data/book.xlsx" in refused.value.message
    assert [path.name for path in tmp_path.iterdir()] == ["book"]


def test_a_small_workbook_that_describes_billions_of_cells_is_refused(tmp_path: Path) -> None:
    for end in (b'<c r="XFD1048576"><v>1</v></c>', b'<c t="str"><v>' + b"1" * (150 << 20) + b"</v></c>"):
        last = b'<row r="1048576">' + end + b"</row></sheetData>"
        content = with_part(workbook({"A": [["a"]]}), SHEET, partial(_replaced, b"</sheetData>", last))
        assert len(content) < 1 << 20
        with pytest.raises(InvalidSpec, match="takes more than 128 MiB of memory"):
            sheet(content, tmp_path, memory=512 << 20)


def test_a_row_that_is_too_long_is_set_aside(tmp_path: Path) -> None:
    content = workbook({"A": [["a", *"bcdefghijklmnopqrstuvwxyzäöüß1234567890"], ["1", *["x" * 32_000] * 38], ["2"]]})
    opened = sheet(content, tmp_path)
    [work] = opened.works(["a"])
    with engine.small() as connection:
        chunk = work((), connection)
    assert (chunk.read, chunk.table["c0"].to_pylist(), chunk.lines_of([0])) == (2, ["2"], [3])
    assert chunk.broken is not None
    [broken] = chunk.broken.to_pylist()
    assert (broken["line"], broken["reason"], broken["complete"]) == (2, "RowTooLong", False)
    assert 4000 < len(broken["payload"]) <= 4096 < excelrows.LONGEST


FIELDS = [
    field("id", "long", required=True),
    field("day", "date", from_="Order day"),
    field("amount", "decimal(9,2)"),
    field("email", "string", sensitive=True),
]


def _replaced(old: bytes, new: bytes, part: bytes) -> bytes:
    return part.replace(old, new)


def a_book(root: Path, *orders: list[Any], **settings: Any) -> APod:
    pod = a_pod(root, *FIELDS, form={"excel": {"sheet": "Orders", **settings}})
    header = ["id", "Order day", "amount", "email", "remark"]
    (pod.data / "orders.xlsx").write_bytes(workbook({"Notes": [["none"]], "Orders": [header, *orders]}))
    return pod


def test_a_bad_row_has_its_sheet_its_row_and_its_cells(tmp_path: Path) -> None:
    pod = a_book(
        tmp_path,
        [1, date(2024, 1, 31), 9.5, "a@example.com"],
        [],
        [2, date(2024, 2, 1), ("=NA()", "#N/A"), "b@example.com", "late"],
        [("=1/0", "#DIV/0!"), None, 1, None],
        [3.5, date(2024, 2, 1), 1, None],
    )
    report = pod.work()
    counts = report.datasets[0].counts
    assert (report.message, counts.read, counts.loaded, counts.quarantined) == (None, 4, 1, 3)
    [row] = pod.rows()
    assert (row["id"], row["day"], str(row["amount"])) == (1, date(2024, 1, 31), "9.50")
    first, second, third = pod.bad()
    assert first["locator"] == "file:///volumes/data/orders.xlsx:Orders!4"
    assert (first["field"], first["message"]) == ("amount", 'amount: "#N/A" is not a decimal(9,2)')
    shown = {"id": "2", "Order day": "2024-02-01", "amount": "#N/A", "email": "***", "remark": "late"}
    assert (json.loads(first["payload"]), first["complete"]) == (shown, False)
    assert (second["field"], second["position"]) == ("id", 5)
    assert (third["message"], third["complete"]) == ('id: "3.5" is not a long', True)


def test_errors_that_are_named_are_null(tmp_path: Path) -> None:
    pod = a_book(
        tmp_path, [1, None, ("=NA()", "#N/A"), "n/a"], [2, None, ("=1/0", "#DIV/0!"), ""], nullValues=["#N/A", "n/a"]
    )
    assert pod.work().datasets[0].counts.quarantined == 1
    assert [(row["id"], row["amount"], row["email"]) for row in pod.rows()] == [(1, None, None)]


def test_one_workbook_that_cannot_be_read_is_set_aside(tmp_path: Path) -> None:
    pod = a_book(tmp_path, [1, None, 1, None])
    (pod.data / "late.xlsx").write_bytes(workbook({"Sheet1": [["id"], [1]]}))
    report = pod.work()
    assert report.datasets[0].counts.loaded == 1
    [entry] = pod.bad()
    assert (entry["reason"], entry["locator"]) == ("UnreadableInput", "file:///volumes/data/late.xlsx")
    assert 'has no sheet "Orders"; there are "Sheet1"' in entry["message"]


def test_discovery_suggests_types(tmp_path: Path) -> None:
    pod = a_book(tmp_path, [1, date(2024, 1, 31), 9.5, "a", True], [2, None, 1, None, ("=NA()", "#N/A")])
    pod.kind = "inspect-source"
    pod.work()
    source = FilesSourceReader(SourceOrder.model_validate(pod.order()["source"]), Pod(tmp_path, "r1", "p", None, 1))
    [stream] = source.discover()
    types = {column.name: column.type for column in stream.fields}
    assert types == {"id": "long", "Order day": "date", "amount": "double", "email": "string", "remark": "boolean"}
    assert pod.report().streams[0].fields == 5


def test_manifests_that_cannot_work_are_refused() -> None:
    place = {"url": "file:///volumes/data/", "volume": {"claimName": "data"}, "format": {"excel": {}}}
    FilesSource.model_validate(place)
    with pytest.raises(ValueError, match="an Excel workbook is compressed in itself"):
        FilesSource.model_validate({**place, "compression": "gzip"})
    with pytest.raises(ValueError, match="excel is for files that are read; deliver csv, json or parquet"):
        FilesDestination.model_validate(place)
