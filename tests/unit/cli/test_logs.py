"""What `penstock logs` shows, and says where there is no log."""

from typing import Any

import pytest

from penstock.api.objects import Key
from penstock.cli import logs

PIPELINE, SOURCE = Key("Pipeline", "default", "b"), Key("Source", "default", "b")
GONE = "the Pod of its newest run is gone, and the log with it. Status still knows"
RUN = {"id": "default/b/nonce/1", "state": "Succeeded", "finishedAt": "2026-11-22T12:01:00Z", "rowsRead": 3}


@pytest.mark.parametrize(
    ("key", "status", "told"),
    [
        (PIPELINE, {}, "nothing has run for Pipeline default/b yet"),
        (
            PIPELINE,
            {"lastRun": {**RUN, "rowsLoaded": 3}},
            f"Pipeline default/b: {GONE}: run 1 at 2026-11-22T12:01:00Z: succeeded: 3 rows read = 3 loaded",
        ),
        (
            PIPELINE,
            {"lastRun": {"id": "default/b/nonce/1", "state": "Waiting", "message": "Dataset b is not ready yet"}},
            "Pipeline default/b: no log yet: run 1 is waiting: Dataset b is not ready yet",
        ),
        (
            SOURCE,
            {"inspection": {"state": "Failed", "attempt": 2, "reason": "Timeout", "message": "too slow"}},
            f"Source default/b: {GONE}: attempt 2: failed, Timeout. too slow",
        ),
    ],
)
def test_without_a_pod_status_tells_what_it_knows(key: Key, status: dict[str, Any], told: str) -> None:
    assert logs.without_pods(key, {"status": status}) == told


@pytest.mark.parametrize(
    ("log", "lines"), [("", []), ("a\u2028b\n\nc", ["a\u2028b", "", "c"]), ("a\n", ["a"]), ("\n", [""])]
)
def test_a_line_of_a_log_ends_where_the_worker_ended_it(log: str, lines: list[str]) -> None:
    assert logs.lines_of(log) == lines
