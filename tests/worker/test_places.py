"""Where bytes come from and go to: a web server, refused credentials, nobody there; inspection and preview."""

import datetime
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from dataclasses import field as default
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from penstock.runs import places
from worker.pods import APod, a_pod, csv, field

A, B = field("a", "long"), field("b", "string")


@dataclass
class Web:
    """A web server with one file, which it serves as told."""

    content: bytes = b"a,b\n1,x\n2,y\n"
    status: int = 200
    etag: str | None = '"v1"'
    cut: int = 0
    conditions: list[str | None] = default(default_factory=list)
    url: str = ""


@pytest.fixture
def web() -> Iterator[Web]:
    told = Web()

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self._head()

        def do_GET(self) -> None:
            told.conditions.append(self.headers.get("If-Match"))
            self._head()
            if told.status == 200:
                self.wfile.write(told.content[: len(told.content) - told.cut])

        def _head(self) -> None:
            self.send_response(told.status)
            self.send_header("Content-Length", str(len(told.content) if told.status == 200 else 0))
            if told.etag:
                self.send_header("ETag", told.etag)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    told.url = f"http://127.0.0.1:{server.server_address[1]}/a.csv"
    yield told
    server.shutdown()
    server.server_close()
    thread.join()


def of_web(root: Path, web: Web) -> APod:
    return a_pod(root, A, B, connector={"url": web.url})


def test_a_file_on_a_web_server_is_read_and_read_again_when_it_has_changed(tmp_path: Path, web: Web) -> None:
    pod = of_web(tmp_path, web)
    assert pod.work("r1").datasets[0].counts.loaded == 2
    assert web.conditions == ['"v1"']
    assert pod.work("r2").datasets[0].state == "Unchanged"
    web.content, web.etag = b"a,b\n3,z\n", '"v2"'
    counts = pod.work("r3").datasets[0].counts
    assert (counts.loaded, counts.replaced, len(pod.rows())) == (1, 2, 1)


@pytest.mark.parametrize(
    ("status", "code", "reason"),
    [(404, 2, "ResourceNotFound"), (403, 2, "WrongCredentials"), (401, 2, "WrongCredentials"), (503, 3, "Unreachable")],
)
def test_what_a_web_server_refuses(status: int, code: int, reason: str, tmp_path: Path, web: Web) -> None:
    web.status = status
    pod = of_web(tmp_path, web)
    report = pod.work()
    assert (pod.code, report.reason) == (code, reason)
    assert web.url in (report.message or "")


def test_a_broken_connection_is_tried_again(tmp_path: Path, web: Web) -> None:
    pod = of_web(tmp_path, web)
    web.cut = 4
    report = pod.work()
    assert (pod.code, report.reason, pod.rows()) == (3, "Unreachable", [])


@pytest.mark.parametrize("place", [{"url": "{}/a.csv"}, {"url": "s3://exports/", "endpointUrl": "{}", "glob": "*"}])
@pytest.mark.parametrize(
    ("server", "cause"),
    [
        ("http://127.0.0.1:9", "connection refused by http://127.0.0.1:9; nothing listens there."),
        ("http://nowhere.invalid", "the name nowhere.invalid "),
        ("https://{}", "no TLS with https://{}. Perhaps it speaks plain http: check the URL."),
    ],
)
def test_nobody_there_is_told_with_the_server_and_the_cause_and_tried_again(
    place: dict[str, str], server: str, cause: str, tmp_path: Path, web: Web
) -> None:
    address = urlsplit(web.url).netloc
    connector = {key: value.format(server.format(address)) for key, value in place.items()}
    pod = a_pod(tmp_path, A, B, connector=connector)
    report = pod.work(kind="inspect-source")
    assert (pod.code, report.reason) == (3, "TlsFailed" if server.startswith("https") else "Unreachable")
    told = f"Source things: {connector['url']} cannot be reached: {cause.format(address)}"
    assert (report.message or "").startswith(told)


def test_a_missing_file_folder_and_claim_are_told(tmp_path: Path) -> None:
    pod = a_pod(tmp_path, A, B, connector={"url": "file:///volumes/data/none.csv"})
    assert (pod.work("r1").reason, pod.code) == ("ResourceNotFound", 2)
    pod.connector["url"] = "file:///volumes/data/none/"
    assert (pod.work("r2").reason, pod.code) == ("ResourceNotFound", 2)
    pod.connector |= {"url": "file:///volumes/other/", "volume": {"claimName": "other"}}
    assert "claim other is not mounted" in (pod.work("r3").message or "")


def test_inspection_tells_the_fields_and_suggests_their_types(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    pod = a_pod(tmp_path, A, form=csv(nullValues=["", "NA"]))
    pod.dataset = {}
    (pod.data / "a.csv").write_text(
        "n,x,day,at,flag,name,none\n1,1.5,2013-01-05,2013-01-05T10:00:00Z,true,x,NA\nNA,2,NA,NA,no,7x,\n"
    )
    report = pod.work(kind="inspect-source")
    assert [(stream.name, stream.fields, stream.files) for stream in report.streams] == [("things", 7, 1)]
    (line,) = [text for text in caplog.messages if text.startswith(places.CATALOG_LINE)]
    (stream,) = json.loads(line.removeprefix(places.CATALOG_LINE))["streams"]
    assert [entry["type"] for entry in stream["fields"]] == [
        *("long", "double", "date", "timestamptz", "boolean", "string", "string")
    ]


def test_inspection_of_json_lines_and_of_nothing(tmp_path: Path) -> None:
    pod = a_pod(tmp_path, A, form={"json": {}})
    report = pod.work("r1", kind="inspect-source")
    assert (report.reason, pod.code) == ("ResourceNotFound", 2)
    (pod.data / "a.jsonl").write_text('{"a": 1}\n{"b": "x", "c": {}}\n')
    assert pod.work("r2").streams[0].fields == 3


@pytest.mark.parametrize("connector", ["lake", "files"])
def test_a_destination_is_written_to_and_left_clean(connector: str, tmp_path: Path) -> None:
    pod = a_pod(tmp_path, A)
    lake = {"lake": {"warehouse": "file:///volumes/out/wh", "volume": {"claimName": "out"}}}
    files = {"files": {"url": "file:///volumes/out/d/", "volume": {"claimName": "out"}}}
    pod.more = {"destination": {"name": "there", "connector": lake if connector == "lake" else files}}
    report = pod.work(kind="inspect-destination")
    assert (report.state, pod.code) == ("Succeeded", 0)
    assert not list(pod.out.rglob("*probe*"))


def test_a_preview_shows_the_first_rows_and_masks(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    pod = a_pod(tmp_path, A, field("b", "string", sensitive=True), field("c", "date"))
    (pod.data / "a.csv").write_text("a,b,c\n1,x,2013-01-05\n2,,\nbad,secret,\n")
    pod.work("r1")

    def shown(**asked: Any) -> dict[str, Any]:
        caplog.clear()
        assert pod.work("p1", kind="preview", more={"preview": asked, "source": None}).state == "Succeeded"
        (line,) = [text for text in caplog.messages if text.startswith(places.PREVIEW_LINE)]
        found: dict[str, Any] = json.loads(line.removeprefix(places.PREVIEW_LINE))
        return found

    first = shown(rows=1)
    assert (first["columns"], first["rows"], first["total"]) == (["a", "b", "c"], [["1", "***", "2013-01-05"]], 2)
    assert first["numeric"] == ["a"]
    assert shown(rows=10)["rows"][1] == ["2", None, None]
    bad = shown(rows=10, quarantined=True)
    assert (bad["total"], bad["rows"][0][1]) == (1, "4")
    assert "secret" not in str(bad)
    assert bad["bad"] == [
        {"rows": 1, "field": "a", "why": 'a: "bad" is not a long', "where": "file:///volumes/data/a.csv:4"}
    ]


def test_a_preview_counts_all_of_a_quarantine_by_rule(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    pod = a_pod(tmp_path, field("a", "long", maximum="9"), B)
    (pod.data / "a.csv").write_text("a,b\n1,x\n10,x\n11,x\nno,x\n" + "12,x\n" * 200)
    pod.work("r1")
    shown = _shown(pod, caplog, rows=1, quarantined=True)
    assert (shown["total"], len(shown["rows"])) == (203, 1)
    assert [(entry["rows"], entry["field"], entry["where"][-8:]) for entry in shown["bad"]] == [
        (202, "a", "/a.csv:3"),
        (1, "a", "/a.csv:5"),
    ]
    assert shown["bad"][0]["why"] == 'a: "10" is above the maximum 9'


@pytest.mark.parametrize(
    ("name", "content", "form", "rows"),
    [
        ("a.csv", 'a,b\n1,x\n2,"y"\n', csv(), [["1", "x"], ["2", "y"]]),
        ("a.jsonl", '{"a": 1.10, "b": "x"}\n{"b": null, "a": {"c": 1}}\n', {"json": {}}, None),
    ],
)
def test_a_preview_of_a_source_shows_its_first_rows(
    name: str, content: str, form: dict[str, Any], rows: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    pod = a_pod(tmp_path, A, form=form)
    (pod.data / name).write_text(content)
    (pod.data / "z.csv").write_text(content)
    shown = _shown(pod, caplog, whole=True, rows=10)
    assert shown["columns"] == ["a", "b"]
    assert shown["where"] == f"file:///volumes/data/{name}"
    assert shown["rows"] == (rows or [["1.10", "x"], ['{"c": 1}', None]])


def test_a_preview_of_a_source_shows_types_as_text_and_lines_that_are_no_rows(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    pod = a_pod(tmp_path, A, form={"parquet": {}})
    table = pa.table({"n": [1, None], "d": [datetime.date(2013, 1, 5), None], "N": ["x\x1b", "y"]})
    pq.write_table(table, pod.data / "a.parquet")
    shown = _shown(pod, caplog, whole=True, rows=10)
    assert (shown["columns"], shown["numeric"]) == (["n", "d", "N"], ["n"])
    assert shown["rows"] == [["1", "2013-01-05", "x\x1b"], [None, None, "y"]]

    pod = a_pod(tmp_path / "csv", A)
    (pod.data / "a.csv").write_text('a,b\n1,x\n2,"open\n3,z\n')
    shown = _shown(pod, caplog, whole=True, rows=10)
    assert [row[0] for row in shown["rows"]] == ["1", "3"]
    assert [entry["where"] for entry in shown["bad"]] == ["file:///volumes/data/a.csv:3"]


def test_a_preview_of_a_source_without_files_says_so(tmp_path: Path) -> None:
    pod = a_pod(tmp_path, A)
    report = pod.work("p1", kind="preview", more={"preview": {}})
    assert (pod.code, report.reason) == (2, "ResourceNotFound")


def _shown(pod: APod, caplog: pytest.LogCaptureFixture, *, whole: bool = False, **asked: Any) -> dict[str, Any]:
    """What a preview prints of the Dataset or, `whole`, of the Source."""
    caplog.clear()
    more = {"preview": asked, **({} if whole else {"source": None})}
    assert pod.work("p1", kind="preview", more=more).state == "Succeeded"
    (line,) = [text for text in caplog.messages if text.startswith(places.PREVIEW_LINE)]
    found: dict[str, Any] = json.loads(line.removeprefix(places.PREVIEW_LINE))
    return found


def test_a_preview_of_no_table_waits(tmp_path: Path) -> None:
    pod = a_pod(tmp_path, A)
    report = pod.work(kind="preview", more={"preview": {}, "source": None})
    assert (pod.code, report.reason) == (3, "DatasetNotReady")


def test_a_file_without_any_object_is_no_json(tmp_path: Path) -> None:
    pod = a_pod(tmp_path, A, B, form={"json": {}})
    (pod.data / "a.csv").write_text("a,b\n1,x\n2,y\n")
    report = pod.work(kind="inspect-source")
    assert (pod.code, report.reason) == (2, "WrongSpecification")
    assert "a.csv: none of the first 3 lines is a JSON object. Check format: " in (report.message or "")


@pytest.mark.parametrize("content", ['[{"a": 1}, {"a": 2}]\n', '{\n  "a": 1\n}\n'])
def test_json_that_is_not_one_object_a_line_is_told(content: str, tmp_path: Path) -> None:
    pod = a_pod(tmp_path, A, form={"json": {}})
    (pod.data / "a.json").write_text(content)
    report = pod.work(kind="inspect-source")
    assert (pod.code, report.reason) == (2, "WrongSpecification")
    assert "an array, or an object over several lines, is read with json: {lines: false}." in (report.message or "")


@pytest.mark.parametrize("kind", ["ingest", "inspect-source"])
def test_a_folder_whose_url_does_not_end_like_one_is_told(kind: str, tmp_path: Path) -> None:
    pod = a_pod(tmp_path, A, connector={"url": "file:///volumes/data/sub"})
    (pod.data / "sub").mkdir()
    report = pod.work(kind=kind)
    assert (pod.code, report.reason) == (2, "WrongSpecification")
    assert "/volumes/data/sub is a folder. End the URL with a slash: " in (report.message or "")
