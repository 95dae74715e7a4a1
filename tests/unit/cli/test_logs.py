"""What `penstock logs` shows, and says where there is no log."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from penstock.api.objects import Key
from penstock.cli import logs
from penstock.control.cluster.client import HttpCluster
from penstock.control.cluster.port import NotFound, Ref, Unavailable
from support.fakecluster import FakeCluster

PIPELINE, SOURCE = Key("Pipeline", "default", "b"), Key("Source", "default", "b")
GONE = "the Pod of its newest run was deleted, and its log with it. From the status"
RUN = {"id": "default/b/nonce/1", "state": "Succeeded", "finishedAt": "2026-11-22T12:01:00Z", "rowsRead": 3}


@pytest.mark.parametrize(
    ("key", "status", "told"),
    [
        (PIPELINE, {}, "Pipeline default/b has had no run yet"),
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


@dataclass
class Story(FakeCluster):
    """A Job whose Pods come to their ends one after another, as each one's log is read."""

    chapters: list[tuple[str, list[str], str, Exception | None]] = field(default_factory=list)
    """Of each reading: the Pod, its lines, its phase after it, and how the reading ends."""

    def begin(self, pod: str) -> dict[str, Any]:
        """A Pod of the Job starts."""
        metadata = {"name": pod, "labels": {"batch.kubernetes.io/job-name": "j"}}
        return self.put({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "status": {"phase": "Running"}})

    async def follow(self, namespace: str, pod: str) -> AsyncIterator[str]:
        """Tell the next chapter."""
        name, lines, phase, error = self.chapters.pop(0)
        assert (namespace, name) == ("default", pod)
        for line in lines:
            yield line
        self.change(Ref("Pod", namespace, pod), {"status": {"phase": phase}})
        if not self.chapters:
            self.change(Ref("Job", namespace, "j"), {"status": {"conditions": [{"type": "Failed", "status": "True"}]}})
        elif self.chapters[0][0] not in [item["metadata"]["name"] for item in self.items("Pod")]:
            self.begin(self.chapters[0][0])
        if error:
            raise error


def _followed(story: Story) -> None:
    story.put({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "j"}})
    story.begin("a-before")
    following = logs.Following(cast(HttpCluster, story), story.begin("b"), {"a-before"}, poll_seconds=0)
    asyncio.run(asyncio.wait_for(following.show(), 10))


def test_a_log_is_followed_from_pod_to_pod_until_the_job_is_over(capsys: pytest.CaptureFixture[str]) -> None:
    again = ("b", ["1", "2"], "Failed", None)  # over by now, and read once more for what came after
    _followed(Story(chapters=[again, again, ("c", ["3"], "Succeeded", None), ("c", ["3", "4"], "Succeeded", None)]))
    assert capsys.readouterr() == ("1\n2\n3\n4\n", "# b\n# c\n")


def test_a_log_goes_on_where_it_was_when_the_server_is_back(capsys: pytest.CaptureFixture[str]) -> None:
    away = Unavailable(0, "ConnectionLost", "the API server broke off its answer")
    gone = NotFound(404, "NotFound", "pods b not found")
    chapters = [("b", ["1"], "Running", away), ("b", ["1", "2"], "Running", gone), ("c", ["3"], "Failed", None)]
    _followed(Story(chapters=[*chapters, ("c", ["3"], "Failed", None)]))
    assert capsys.readouterr() == ("1\n2\n3\n", "# b\n# c\n")


def test_a_log_is_over_when_its_job_is_gone() -> None:
    story = Story()
    pod = story.begin("b")
    story.remove(Ref("Pod", "default", "b"))
    asyncio.run(asyncio.wait_for(logs.Following(cast(HttpCluster, story), pod, set()).show(), 10))
