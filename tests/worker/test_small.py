"""Small files: fetched many at once, judged together, and each as if it had been alone."""

import gzip
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from worker.pods import APod, Json, a_pod, csv, field

FIELDS = [
    field("id", "long", required=True, minimum="0"),
    field("kind", "string", enum=["x", "y", "z"]),
    field("day", "date"),
    field("twice", "long", from_="id::bigint * 2"),
    field("note", "string", sensitive=True),
]
COLUMNS = ["id", "kind", "day", "note"]


def _values(dice: random.Random, number: int) -> dict[str, str]:
    found = {"id": str(number), "kind": dice.choice("xyz"), "day": f"2013-01-{dice.randrange(1, 29):02d}", "note": "n"}
    if dice.random() < 0.1:
        found[dice.choice(COLUMNS[:3])] = dice.choice(["", "bad", "-5"])
    return found


def _csv(dice: random.Random, first: int) -> bytes:
    columns = dice.choice([COLUMNS, COLUMNS[::-1], [*COLUMNS, "more"], ["other", *COLUMNS]])
    lines = [",".join(columns)]
    for number in range(first, first + dice.choice([0, 1, 7, 40])):
        row = _values(dice, number)
        lines.append(",".join(row.get(column, "-") for column in columns) + dice.choice(["", "", "", "", ",ragged"]))
    return dice.choice(["\n", "\r\n"]).join(lines).encode() + dice.choice([b"", b"\n", b"\n\xff\xfe,,,\n"])


def _json(dice: random.Random, first: int) -> bytes:
    rows = [_values(dice, number) for number in range(first, first + dice.choice([0, 1, 7, 40]))]
    texts = ("{" + ", ".join(f'"{key}": "{value}"' for key, value in row.items()) + "}" for row in rows)
    return "\n".join(dice.choice([text, text, text, text[:-2]]) for text in texts).encode()


def _files(pod: APod, form: str, seed: int) -> None:
    dice = random.Random(seed)
    for number in range(150):
        content = (_csv if form == "csv" else _json)(dice, number * 100) if dice.random() < 0.95 else b""
        zipped = dice.random() < 0.2
        name = f"{number:03d}.{form}{'.gz' if zipped else ''}"
        (pod.data / name).write_bytes(gzip.compress(content) if zipped else content)


def _told(pod: APod) -> tuple[Any, ...]:
    rows = sorted((row["id"], str(row)) for row in pod.rows())
    bad = [(row["locator"], row["stage"], row["field"], row["message"], row["payload"]) for row in pod.bad()]
    files = {entry.name: entry.rows for entry in pod.ledger.inputs("demo/things")}
    return rows, sorted(bad, key=str), files, pod.report().datasets[0].counts


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize(("form", "connector"), [("csv", csv()), ("json", {"json": {}})])
def test_they_are_staged_as_large_ones_are(
    form: str, connector: Json, seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = []
    for small in (1 << 20, -1):
        monkeypatch.setattr("penstock.worker.rows.stage.SMALL", small)
        pod = a_pod(tmp_path / str(small), *FIELDS, connector={"format": connector})
        _files(pod, form, seed)
        assert pod.work().state == "Succeeded"
        told.append(_told(pod))
    rows, bad, files, counts = told[0]
    assert told[0] == told[1]
    assert len(files) == 150
    assert len(rows) == counts.loaded > 500
    assert len(bad) == counts.quarantined > 50


def test_one_that_unpacks_to_a_large_one(tmp_path: Path) -> None:
    pod = a_pod(tmp_path, *FIELDS[:2])
    line = b"1,x\n"
    content = b"id,kind\n" + line * 8_000_000
    (pod.data / "a.csv.gz").write_bytes(gzip.compress(content))
    (pod.data / "b.csv").write_bytes(b"id,kind\n" + line)
    assert (pod.data / "a.csv.gz").stat().st_size < 1 << 20
    assert pod.work().datasets[0].counts.loaded == 8_000_001


@pytest.fixture
def silent() -> Iterator[tuple[str, threading.Event]]:
    """A web server that tells of a small file and never sends it; and when it was asked to."""
    asked, over = threading.Event(), threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", "100")
            self.end_headers()

        def do_GET(self) -> None:
            self.do_HEAD()
            asked.set()
            over.wait(120)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}/a.csv", asked
    over.set()
    server.shutdown()
    server.server_close()


def test_a_run_that_is_ended_does_not_wait_for_a_server_that_is_silent(
    silent: tuple[str, threading.Event], tmp_path: Path
) -> None:
    url, asked = silent
    pod = a_pod(tmp_path, *FIELDS[:2], connector={"url": url})
    worker = pod.start("r1")
    assert asked.wait(60)
    worker.send_signal(signal.SIGTERM)
    worker.communicate(timeout=20)  # its own patience with the server is a minute
    assert (worker.returncode, pod.report().reason) == (3, "Cancelled")


def test_many_are_not_open_at_once(tmp_path: Path) -> None:
    pod = a_pod(tmp_path, *FIELDS[:2])
    for number in range(400):
        (pod.data / f"{number:03d}.csv").write_text("id,kind\n1,x\nbad,x\n")
    pod.prepare()
    limited = f'ulimit -n 64; exec "{sys.executable}" -m penstock.worker'
    subprocess.run(["bash", "-c", limited], env=pod.environment("r1"), check=True, capture_output=True)
    assert (len(pod.rows()), len(pod.bad())) == (400, 400)


def test_parquet_whose_dictionaries_do_not_fit_together(tmp_path: Path) -> None:
    pod = a_pod(tmp_path, *FIELDS[:1], field("word", "string"), form={"parquet": {}})
    kind = pa.dictionary(pa.int8(), pa.string())
    schema = pa.schema([("id", pa.int64()), ("word", kind)])
    for name in "ab":
        with pq.ParquetWriter(pod.data / f"{name}.parquet", schema) as writer:
            for group in range(3):
                words = [f"{name}-{group}-{number}" for number in range(100)]
                writer.write_table(
                    pa.table([pa.array(range(100)), pa.array(words).dictionary_encode().cast(kind)], schema=schema)
                )
    assert pod.work().datasets[0].counts.loaded == 600
    assert len({row["word"] for row in pod.rows()}) == 600


def test_a_run_that_is_ended_does_not_wait_for_the_rest_of_a_small_file_that_unpacks_to_a_large_one(
    tmp_path: Path,
) -> None:
    pod = a_pod(tmp_path, *FIELDS[:2])
    with gzip.open(pod.data / "a.csv.gz", "wb") as file:
        file.write(b"id,kind\n" + b"1,x\n" * 60_000_000)
    assert (pod.data / "a.csv.gz").stat().st_size < 1 << 20
    worker, begun = pod.start("r1"), time.monotonic()
    staged = pod.warehouse / "main/things/data"
    while not (staged.exists() and any(staged.iterdir())):
        time.sleep(0.02)
    first = time.monotonic() - begun
    worker.communicate()
    whole = time.monotonic() - begun - first
    (pod.data / "a.csv.gz").touch()
    committed = len([*staged.iterdir()])
    worker = pod.start("r2")
    while len([*staged.iterdir()]) <= committed:
        time.sleep(0.02)
    worker.send_signal(signal.SIGTERM)
    begun = time.monotonic()
    worker.communicate()
    assert (worker.returncode, pod.report().reason) == (3, "Cancelled")
    assert time.monotonic() - begun < whole / 2
