"""`penstock run --wait` while the API server is away, and when the user's time is over."""

import asyncio
from dataclasses import dataclass, field
from typing import Any

import pytest

from penstock.api.objects import API_VERSION
from penstock.cli import run
from penstock.cli.standing import Standing
from penstock.control.cluster.port import Manifest, Ref, Unavailable
from penstock.language.errors import InvalidSpec
from support.fakecluster import FakeCluster

AT = "2026-11-22T12:00:00.000Z"
AWAY = Unavailable(0, "ConnectionFailed", "the API server does not answer: refused")
KEY = "Pipeline default/a"


@dataclass
class Shaky(FakeCluster):
    """A cluster that answers as it is told to: None is as it is, an error is raised."""

    answers: list[Exception | None] = field(default_factory=list)

    async def get(self, ref: Ref) -> Manifest:
        """The object, or the next error."""
        error = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if error is not None:
            raise error
        return await super().get(ref)


def _waited(answers: list[Exception | None], runs: list[dict[str, Any]], timeout: int | None) -> Standing:
    cluster = Shaky(answers=answers)
    told = [{"id": f"default/a/requested/{AT}", **entry} for entry in runs]
    pipeline = {"apiVersion": API_VERSION, "kind": "Pipeline", "metadata": {"name": "a"}, "spec": {}}
    before = cluster.put({**pipeline, "status": {"runs": told}})
    return asyncio.run(asyncio.wait_for(run._outcome(cluster, before, AT, timeout), 10))


def test_an_outage_is_told_and_waited_out(capsys: pytest.CaptureFixture[str]) -> None:
    done = {"state": "Succeeded", "rowsRead": 0}
    assert _waited([AWAY, AWAY, None], [done], None) == Standing("succeeded: nothing new", succeeded=True)
    assert capsys.readouterr().err == f"{KEY}: the API server does not answer; trying again\n"


@pytest.mark.parametrize(
    ("answer", "runs", "told"),
    [
        (None, [{"state": "Running"}], "running. The run continues in the cluster"),
        (AWAY, [], "the API server does not answer; trying again. The run continues in the cluster"),
        (None, [], "not started yet. The request remains and is carried out as soon as possible"),
        (
            None,
            [{"state": "Waiting", "message": "Pipeline b is writing."}],
            "waiting: Pipeline b is writing. The request remains and is carried out as soon as possible",
        ),
    ],
)
def test_when_the_time_is_over_the_request_stays(
    answer: Exception | None, runs: list[dict[str, Any]], told: str
) -> None:
    with pytest.raises(InvalidSpec) as raised:
        _waited([answer], runs, 0)
    assert raised.value.message.startswith(f"{KEY}: not finished after 0 s, {told}")
