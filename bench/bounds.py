"""Hostile and wide text files: peak memory, and time by size. `python -m bench.bounds [CASE …]`.

Each case is loaded (or inspected) at two sizes, the second twice the first: time should double, and the memory stay
below the worker's 512 MB. The worker gets that limit and one processor's threads, as in a Pod.
"""

import argparse
import gzip
import json
import multiprocessing
import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from bench.ingest import FOLDER, measured

from penstock.runs import places

LIMIT = 512
"""Megabytes that no case may exceed."""
MB = 1 << 20
POD = FOLDER / "bounds"
Json = dict[str, Any]


@dataclass(frozen=True)
class Case:
    """A file: its name, what writes it at a size, its format, its fields, and the job."""

    file: str
    write: Callable[[int], bytes]
    sizes: tuple[int, int]
    form: Json
    fields: int = 2
    job: str = "ingest"


def _rows(width: int, rows: int) -> bytes:
    header = ",".join(f"f{column}" for column in range(width))
    return "\n".join(
        [header, *(",".join(str(row * column) for column in range(width)) for row in range(rows))]
    ).encode()


def _objects(width: int, rows: int) -> bytes:
    lines = (json.dumps({f"f{column}": row * column for column in range(width)}) for row in range(rows))
    return "\n".join(lines).encode()


def _fill(unit: bytes, size: int) -> bytes:
    return b"f0,f1\n" + unit * (size // len(unit))


def _unclosed(size: int) -> bytes:
    return b'f0,f1\n1,"x\n' + b"1,2\n" * (size // 4)


def _members(size: int) -> bytes:
    return gzip.compress(b"f0,f1\n") + gzip.compress(b"1,2\n") * (size // 24)


def _nested(size: int) -> bytes:
    return (b'{"f0":' + b"[" * 5000 + b"\n") * (size // 5000)


CSV: Json = {"csv": {}}
JSON: Json = {"json": {}}
PARAGRAPHS = b'1,"' + b"words and words\n\n" * 16 + b'"\n'
CASES: dict[str, Case] = {
    "blank lines": Case("a.csv", lambda size: _fill(b"\n", size), (4 * MB, 8 * MB), CSV),
    "blank lines, gzip": Case("a.csv.gz", lambda size: gzip.compress(_fill(b"\n", size)), (128 * MB, 256 * MB), CSV),
    "a bomb of one line": Case("a.csv.gz", lambda size: gzip.compress(_fill(b"x", size)), (128 * MB, 256 * MB), CSV),
    "members of gzip": Case("a.csv.gz", _members, (2 * MB, 4 * MB), CSV),
    "paragraphs": Case("a.csv", lambda size: _fill(PARAGRAPHS, size), (20 * MB, 40 * MB), CSV),
    "short paragraphs": Case("a.csv", lambda size: _fill(b'1,"a\n\nb"\n', size), (4 * MB, 8 * MB), CSV),
    "ragged rows": Case("a.csv", lambda size: _fill(b"1\n", size), (4 * MB, 8 * MB), CSV),
    "all rows bad": Case("a.csv", lambda size: _fill(b"x,some text\n", size), (12 * MB, 24 * MB), CSV),
    "quotes not closed": Case("a.csv", lambda size: _fill(b'1,"x\n', size), (4 * MB, 8 * MB), CSV),
    "text after quotes": Case("a.csv", lambda size: _fill(b'1,"x"y\n', size), (4 * MB, 8 * MB), CSV),
    "one quote not closed": Case("a.csv", _unclosed, (16 * MB, 32 * MB), CSV),
    "no UTF-8": Case("a.csv", lambda size: _fill(b"1,\xe9\n", size), (4 * MB, 8 * MB), CSV),
    "long rows": Case("a.csv", lambda size: _fill(b"1," + b"x" * (7 * MB) + b"\n", size), (350 * MB, 700 * MB), CSV),
    "JSON, all bad": Case("a.jsonl", lambda size: b'{"f0":\n' * (size // 7), (4 * MB, 8 * MB), JSON),
    "JSON, empty objects": Case("empty.jsonl", lambda size: b"{}\n" * (size // 3), (MB, 2 * MB), JSON, 200),
    "JSON, nested": Case("a.jsonl", _nested, (8 * MB, 16 * MB), JSON),
    "wide CSV": Case("a.csv", lambda rows: _rows(2000, rows), (500, 1000), CSV, 1000),
    "wide CSV, inspected": Case("a.csv", lambda width: _rows(width, 200), (2000, 4000), CSV, job="inspect-source"),
    "wide JSON": Case("a.jsonl", lambda rows: _objects(2000, rows), (500, 1000), JSON, 1000),
    "wide JSON, inspected": Case("a.jsonl", lambda width: _objects(width, 9), (2000, 4000), JSON, job="inspect-source"),
}  # fmt: skip


def _prepare(case: Case, size: int) -> None:
    pod = POD
    shutil.rmtree(pod, ignore_errors=True)
    for folder in ("etc/penstock/order", "volumes/data", "volumes/lake", "dev"):
        (pod / folder).mkdir(parents=True)
    (pod / "volumes/data" / case.file).write_bytes(case.write(size))
    fields = [{"name": f"f{number}", "type": "long" if number != 1 else "string"} for number in range(case.fields)]
    present = "f0" if case.form is JSON and case.fields == 200 else None
    if present:  # keys that no line has are an error, unless they stand in an expression
        fields = [
            one if int(one["name"][1:]) < 2 else {**one, "from": f"coalesce({one['name']})::bigint"} for one in fields
        ]
    lake = {"warehouse": "file:///volumes/lake/wh", "volume": {"claimName": "lake"}}
    source = {"url": "file:///volumes/data/", "volume": {"claimName": "data"}, "format": case.form}
    order = {
        "version": "penstock.dev/order-v1",
        "kind": case.job,
        "subject": {"kind": "Pipeline", "namespace": "bench", "name": "hostile"},
        "identity": "bench/hostile",
        "deadlineSeconds": 600,
        "source": {"name": "hostile", "connector": {"files": source}},
        "datasets": [
            {
                "owner": {"kind": "Dataset", "namespace": "bench", "name": "hostile"},
                "destination": {"name": "lake", "connector": {"lake": lake}},
                "table": "hostile",
                "schema": {"fields": fields},
                "writeMode": "replace",
                "quality": {"maxBadRatio": "100%"},
                "stream": "hostile",
                "sync": "full",
            }
        ],
    }
    (pod / "etc/penstock/order/order.json").write_text(json.dumps(order))


def main(arguments: Sequence[str]) -> int:
    """Measure and print; 1 where a case takes more memory than the limit."""
    parser = argparse.ArgumentParser(prog="python -m bench.bounds")
    parser.add_argument("cases", nargs="*", metavar="CASE", help=", ".join(CASES))
    chosen = parser.parse_args(arguments).cases or [*CASES]
    over = 0
    print(f"{'case':>24}  {'MB read':>8}  {'cpu s':>7}  {'twice that':>10}  {'ratio':>5}  {'peak MB':>7}", flush=True)
    for name in chosen:
        case, seconds, peak, read = CASES[name], list[float](), 0.0, 0.0
        for size in case.sizes:
            # in a process of its own: the peak of a process begins with that of the one that starts it
            preparing = multiprocessing.get_context("fork").Process(target=_prepare, args=(case, size))
            preparing.start()
            preparing.join()
            assert preparing.exitcode == 0, f"{name} could not be prepared"
            read = (POD / "volumes/data" / case.file).stat().st_size / MB
            environment = {
                "PENSTOCK_POD_ROOT": str(POD),
                "PENSTOCK_RUN_ID": "bench",
                places.MEMORY_LIMIT: str(LIMIT * MB),
            }
            _, processor, most = measured([sys.executable, "-m", "penstock.worker"], environment)
            seconds.append(processor)
            peak = max(peak, most)
        over += peak > LIMIT
        ratio = seconds[1] / seconds[0]
        print(f"{name:>24}  {read:8.1f}  {seconds[0]:7.2f}  {seconds[1]:10.2f}  {ratio:5.2f}  {peak:7.0f}", flush=True)
    return 1 if over else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
