"""The store alone: versions, history, and what a second opening finds."""

from pathlib import Path

import pytest

from localkube.errors import Refused
from localkube.store import Store


def _item(number: int) -> dict[str, dict[str, str]]:
    return {"metadata": {"name": f"n{number}"}}


def test_history_is_bounded_and_what_is_forgotten_is_refused(tmp_path: Path) -> None:
    store = Store(tmp_path / "db")
    for number in range(2100):
        store.put(("things", "ns", "n"), _item(number))

    assert len(store.since("things", store.version - 5)) == 5
    with pytest.raises(Refused, match="too old resource version") as refused:
        store.since("things", 2)
    assert refused.value.code == 410
    store.close()


def test_a_version_from_the_future_is_refused(tmp_path: Path) -> None:
    store = Store(tmp_path / "db")

    with pytest.raises(Refused, match="resource version"):
        store.since("things", 99)
    store.close()


def test_a_second_opening_finds_everything_and_goes_on_counting(tmp_path: Path) -> None:
    store = Store(tmp_path / "db")
    store.put(("things", "ns", "a"), _item(1))
    store.put(("things", "ns", "b"), _item(2))
    store.remove(("things", "ns", "a"))
    version = store.version
    store.close()

    again = Store(tmp_path / "db")

    assert again.version == version
    assert [key for key, _ in again.everything()] == [("things", "ns", "b")]
    assert again.since("things", version) == []
    again.close()
