"""Files that are not what the manifest says: what a newcomer is told of each, with the remedy that fits its cause."""

import gzip
import io
import json
import zipfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from worker.pods import Json, a_pod, csv, field

FIELDS = [
    field("id", "long", required=True),
    field("name", "string", enum=["Anna", "Ben", "Cid", "Dora", "Eva", "Fred"]),
    field("price", "decimal(10,2)"),
    field("day", "date"),
]
GOOD = b"id,name,price,day\n1,Anna,1.50,2024-01-31\n2,Ben,2.00,2024-02-01\n"
HEADER = b"id,name,price,day\n"
ROWS = [{"id": 1, "name": "Anna", "price": 1.5}, {"id": 2, "name": "Ben", "price": 2}]
LINES = b"".join(json.dumps(row).encode() + b"\n" for row in ROWS)
TAR = b"orders.csv".ljust(257, b"\0") + b"ustar\x0000" + bytes(247) + GOOD
JSON: Json = {"json": {}}
DOCUMENT: Json = {"json": {"lines": False}}
PARQUET: Json = {"parquet": {}}


def zipped(*names: str) -> bytes:
    """A zip archive with files of these names."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        for name in names:
            file.writestr(name, GOOD)
    return archive.getvalue()


def parquet() -> bytes:
    """A Parquet file."""
    written = io.BytesIO()
    pq.write_table(pa.table({"id": [1, 2], "name": ["Anna", "Ben"]}), written)
    return written.getvalue()


REFUSED: list[tuple[str, Json, bytes, str]] = [
    ("tar", csv(), TAR, "is a tar archive, not a text file. Unpack it."),
    ("tar.gz", csv(), gzip.compress(TAR), "is a tar archive, not a text file. Unpack it."),
    ("Z", csv(), b"\x1f\x9d\x90abc", "is compressed by compress (.Z), not a text file. Decompress it"),
    ("lz4", csv(), b"\x04\x22\x4d\x18abc", "is compressed by lz4, not a text file. Decompress it"),
    ("zip of two", csv(), zipped("a.csv", "b.csv"), 'has several files, "a.csv" and "b.csv". Upload each by itself.'),
    ("xlsx", csv(), zipped("[Content_Types].xml", "xl/workbook.xml"), "is an Excel workbook, or another Office"),
    ("ods", csv(), zipped("mimetype", "content.xml"), "is an Excel workbook, or another Office document. Export the"),
    (
        "xls",
        csv(),
        b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(99),
        "is an old Excel workbook, not a text file. Export",
    ),
    ("Parquet", csv(), parquet(), "is a Parquet file, not a text file. Set format: {parquet: {}}"),
    ("image", csv(), b"\x89PNG\r\n\x1a\n" + bytes(99), "is an image, not a text file. Check url and glob."),
    ("database", csv(), b"SQLite format 3\0" + bytes(99), "is an SQLite database, not a text file. Use the connector"),
    (
        "truncated",
        csv(),
        gzip.compress(GOOD * 99)[:-9],
        "ends in the middle of its gzip stream. Upload the file again.",
    ),
    (
        "CR CR LF",
        csv(),
        GOOD.replace(b"\n", b"\r\r\n"),
        "the line ends in CR CR LF, and must end in LF or CRLF. Convert",
    ),
    ("CR", csv(), GOOD.replace(b"\n", b"\r"), "a carriage return stands inside the line, outside quotes. Convert the"),
    ("HTML", csv(), b"<!DOCTYPE html>\n<h1>404</h1>\n", "The file begins as a web page (HTML): check the URL"),
    ("HTML, one line", csv(), b"<html><body>a, b</body></html>", "The file begins as a web page (HTML)"),
    ("XML", csv(), b'<?xml version="1.0"?>\n<Error/>', "The file begins as XML. If it is an error message of a server"),
    ("JSON", csv(), LINES, "The file begins as JSON: set format: {json: {}}"),
    ("JSON list", csv(), json.dumps(ROWS, indent=1).encode(), "The file begins as JSON"),
    ("Git LFS", csv(), b"version https://git-lfs.github.com/spec/v1\nsize 1\n", "a pointer of Git LFS, not the file"),
    ("PGP", csv(), b"-----BEGIN PGP MESSAGE-----\n", "The file is encrypted with PGP: decrypt it"),
    ("UTF-16", csv(), GOOD.decode().encode("utf-16"), "Set format.csv.encoding: utf-16."),
    ("UTF-16, no mark", csv(), GOOD.decode().encode("utf-16-le"), "If it is UTF-16, set format.csv.encoding: utf-16le"),
    ("Latin-1", csv(), "id,näme\n1,a\n".encode("latin-1"), "the header is not UTF-8. Set format.csv.encoding"),
    ("semicolons", csv(), GOOD.replace(b",", b";"), 'there are "id;name;price;day". Check delimiter.'),
    ("sep=;", csv(), b"sep=;\n" + GOOD, 'set format.csv.skipLines: 1 and format.csv.delimiter: ";".'),
    ("sep=,", csv(), b"sep=,\n" + GOOD, "a note for Excel: set format.csv.skipLines: 1."),
    ("title", csv(), b"Sales report\n" + GOOD, "If the header is on a later line, set format.csv.skipLines."),
    ("no header", csv(), GOOD.removeprefix(HEADER), "and not a header, set format.csv.header: false."),
    ("blanks", csv(), GOOD.replace(b",", b", "), 'did you mean " name"?'),
    (
        "twice",
        csv(),
        b"id,name,price,day,name\n",
        'needs the column "name", which occurs twice in it, as columns 2, 5.',
    ),
    ("wrapped", JSON, json.dumps({"data": ROWS}).encode(), "inside of each line, name it in format.json.records."),
    ("UTF-16 JSON", JSON, LINES.decode().encode("utf-16"), "is UTF-16; files must be UTF-8"),
    ("Avro", JSON, b"Obj\x01\x04\x14avro", "is an Avro file, not a text file. Export the data"),
    ("lines", DOCUMENT, LINES, "the document is an object, not a list. Name the list that has the rows in format.json"),
    ("cut", DOCUMENT, json.dumps(ROWS).encode()[:-9], "ends in the middle of a value: upload the whole file again"),
    ("comma", DOCUMENT, json.dumps(ROWS).encode()[:-1] + b",]", "line 1: a comma stands before ]."),
    ("page", DOCUMENT, b"<html></html>", "line 1: the document is HTML or XML, not a list."),
    ("cut Parquet", PARQUET, parquet()[:-50], "it begins as Parquet and does not end so. Upload the whole file again."),
    ("gzip", PARQUET, gzip.compress(parquet()), "is not Parquet: it is compressed by gzip. Decompress it"),
    ("ORC", PARQUET, b"ORC" + bytes(50), "is not Parquet: it is an ORC file. Export the data"),
    ("CSV", PARQUET, GOOD, "Set format to what the file has, or upload the file again."),
    ("empty", PARQUET, b"", "is not Parquet: it is empty. Upload the file again."),
]


@pytest.mark.parametrize(("form", "content", "said"), [case[1:] for case in REFUSED], ids=[case[0] for case in REFUSED])
def test_a_file_that_is_refused_is_named_with_its_cause_and_remedy(
    form: Json, content: bytes, said: str, tmp_path: Path
) -> None:
    pod = a_pod(tmp_path, *FIELDS, form=form)
    (pod.data / "orders.csv").write_bytes(content)
    report = pod.work()
    assert report.reason == "WrongSpecification"
    assert said in (report.message or "")
    assert "file:///volumes/data/orders.csv" in (report.message or "")


BAD: list[tuple[str, Json, bytes, str]] = [
    ("German dates", csv(), HEADER + b"1,Anna,1,31.01.2024\n", "day is not a date; set formats if the values are not"),
    ("decimal comma", csv(delimiter=";"), b"id;name;price;day\n1;Anna;1,5;\n", "set decimal or thousands"),
    ("enum", csv(), HEADER + b"1,Zoe,1,\n", "name is not one of Anna, Ben, Cid, Dora, Eva and 1 more"),
    ("Latin-1", csv(), HEADER + b"1,Zo\xeb,1,\n", "if the file has another encoding, set format.csv.encoding"),
    ("trailing", csv(), HEADER + b"1,Anna,1,,\n", "the row ends in 1 delimiter more than the header"),
    ("blank", csv(), HEADER + b'1, "Anna, B",1,2024-01-31\n', "a field with a blank before its quote is not quoted"),
    ("escape", csv(), HEADER + b'1,"a \\"b\\"",1,\n', 'if \\" stands for a quote, set format.csv.escape'),
    ("list", JSON, json.dumps(ROWS).encode(), "is a list, and not an object; for one JSON document, set format.json."),
    ("object", JSON, json.dumps(ROWS[0], indent=1).encode(), "it ends in the middle of a value; for one JSON document"),
    ("member", JSON, b'"id": 1,\n', "it is a member of an object by itself; for one JSON document"),
    ("concatenated", JSON, LINES.replace(b"\n", b""), "a second object follows; write each on a line of its own"),
    ("comma after", JSON, LINES.split(b"\n")[0] + b",\n", "a comma follows its end; for one JSON document"),
    ("comma", JSON, b'{"id": 1,}\n', "a comma stands before }"),
    ("quotes", JSON, b"{'id': 1}\n", "names and texts need double quotes"),
    ("NaN", JSON, b'{"id": NaN}\n', "NaN is not a number in JSON"),
    ("page", JSON, b"<html></html>\n", "it begins as HTML or XML"),
]


@pytest.mark.parametrize(("form", "content", "said"), [case[1:] for case in BAD], ids=[case[0] for case in BAD])
def test_too_many_bad_rows_say_what_to_change(form: Json, content: bytes, said: str, tmp_path: Path) -> None:
    pod = a_pod(tmp_path, *FIELDS, form=form, quality={"maxBadRatio": "0%"})
    (pod.data / "orders.csv").write_bytes(content)
    report = pod.work()
    assert report.reason == "TooManyBadRows"
    assert said in (report.message or "")
    assert "first in file:///volumes/data/orders.csv:" in (report.message or "")


def test_a_text_that_means_no_value_points_to_null_values(tmp_path: Path) -> None:
    pod = a_pod(tmp_path, *FIELDS)
    (pod.data / "a.csv").write_bytes(HEADER + b"1,Anna,N/A,\n2,Ben,1.x,\n")
    pod.work()
    assert [bad["message"] for bad in pod.bad()] == [
        'price: "N/A" is not a decimal(10,2); if this means no value, add it to nullValues',
        'price: "1.x" is not a decimal(10,2)',
    ]


@pytest.mark.parametrize("name", ["<", "{x", "sep", "[a]", "1st", "version"])
def test_a_column_with_a_name_of_its_own_is_read(name: str, tmp_path: Path) -> None:
    pod = a_pod(tmp_path, field("v", "string", from_=f'"{name}"'))
    (pod.data / "a.csv").write_text(f"{name}\nx\n")
    assert pod.work().datasets[0].counts.loaded == 1


def test_the_entry_of_a_refused_file_leaves_when_the_file_is_gone(tmp_path: Path) -> None:
    pod = a_pod(tmp_path, *FIELDS)
    (pod.data / "good.csv").write_bytes(GOOD)
    (pod.data / "wrong.csv").write_bytes(b"<html></html>")
    assert pod.work("r1").datasets[0].counts.refused == 1
    (pod.data / "wrong.csv").unlink()
    (pod.data / "good.csv").unlink()
    report = pod.work("r2")
    assert (report.state, len(pod.rows()), pod.bad()) == ("Succeeded", 2, [])
    assert [entry.name for entry in pod.ledger.inputs("demo/things")] == ["file:///volumes/data/good.csv"]
