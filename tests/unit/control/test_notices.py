"""What is said again and again is said once, then now and then."""

import logging

import pytest

from penstock.control.notices import REPEAT_SECONDS, Notices


def test_the_same_is_said_at_once_and_then_rarely(caplog: pytest.LogCaptureFixture) -> None:
    now = 0.0
    notices = Notices(logging.getLogger("test"), lambda: now)
    for _ in range(3):
        notices.warn("watch", "no")
    notices.warn("sweep", "no")
    now = REPEAT_SECONDS - 1
    notices.warn("watch", "no")
    assert caplog.messages == ["no", "no"]
    now = REPEAT_SECONDS
    notices.warn("watch", "no")
    notices.warn("watch", "no, and why")
    assert caplog.messages == ["no", "no", "no", "no, and why"]


def test_what_was_over_and_comes_back_is_news(caplog: pytest.LogCaptureFixture) -> None:
    notices = Notices(logging.getLogger("test"), lambda: 0.0)
    notices.warn("watch", "no")
    notices.over("watch")
    notices.warn("watch", "no")
    assert caplog.messages == ["no", "no"]
