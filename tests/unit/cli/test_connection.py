"""An API server that does not answer."""

import asyncio
from pathlib import Path

import pytest
import yaml

from penstock.cli.connection import Patience, Target
from penstock.control.cluster.port import ClusterError, NotFound, Unavailable
from penstock.language.errors import InvalidSpec

AWAY = Unavailable(0, "ConnectionFailed", "the API server does not answer: refused")


class Clock:
    """A monotonic clock that a test sets."""

    now = 1000.0

    def __call__(self) -> float:
        """The time."""
        return self.now


def _asked(patience: Patience, error: Exception | None = None) -> None:
    with patience.bears():
        if error is not None:
            raise error


@pytest.mark.parametrize("error", [AWAY, TimeoutError()])
def test_a_minute_of_silence_is_borne_and_no_more(error: Exception) -> None:
    clock = Clock()
    patience = Patience("The run goes on by itself", clock)
    for clock.now in (1000.0, 1030.0, 1059.0):
        _asked(patience, error)
    clock.now = 1060.0
    with pytest.raises(InvalidSpec, match=r"^the API server does not answer.*, for 60 s\. The run goes on by itself$"):
        _asked(patience, error)


def test_one_answer_begins_the_minute_anew() -> None:
    clock = Clock()
    patience = Patience("", clock)
    _asked(patience, AWAY)
    clock.now += 59
    _asked(patience)
    clock.now += 59
    _asked(patience, AWAY)
    clock.now += 59
    _asked(patience, AWAY)


def test_a_refusal_is_no_silence() -> None:
    with pytest.raises(NotFound):
        _asked(Patience(""), NotFound(404, "NotFound", "gone"))


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (AWAY, "the API server does not answer: refused"),
        (ClusterError(403, "Forbidden", "no"), "the API server answered: no"),
    ],
)
def test_the_cluster_says_only_what_it_said(tmp_path: Path, error: ClusterError, told: str) -> None:
    entries = {"clusters": "cluster", "users": "user", "contexts": "context"}
    content = {"server": "https://127.0.0.1:1", "cluster": "a", "user": "a"}
    named = {place: [{"name": "a", kind: content}] for place, kind in entries.items()}
    (tmp_path / "k").write_text(yaml.safe_dump({"apiVersion": "v1", "current-context": "a", **named}))

    async def ask() -> None:
        async with Target(tmp_path / "k").open():
            raise error

    with pytest.raises(InvalidSpec) as raised:
        asyncio.run(ask())
    assert raised.value.message == told
