"""Schedules are accepted and refused as by the Go module that Kubernetes uses, with its messages."""

import pytest

from kubecron import schedule
from support import crontable


def test_the_table_is_large_enough_to_mean_something() -> None:
    assert len(crontable.accepted()) > 800
    assert len(crontable.refused()) > 1_200


def test_what_go_accepts_is_accepted() -> None:
    refused = []
    for text in crontable.accepted():
        try:
            schedule.parse(text)
        except schedule.InvalidSchedule as invalid:
            refused.append((text, str(invalid)))
    assert refused == []


def test_what_go_refuses_is_refused_with_its_message() -> None:
    different = []
    for text, message in crontable.refused():
        try:
            schedule.parse(text)
        except schedule.InvalidSchedule as invalid:
            if str(invalid) != message:
                different.append((text, message, str(invalid)))
        else:
            different.append((text, message, "accepted"))
    assert different == []


@pytest.mark.parametrize(
    ("text", "field", "problem"),
    [
        ("0 6 * * 7", "day of week", '"7" is above 6; Sunday is 0'),
        ("0 6 * * 5-7", "day of week", '"5-7" is above 6; Sunday is 0'),
        ("0 6 * * L", "day of week", '"L" is not a number or one of sun, mon, tue, wed, thu, fri, sat'),
        ("0 6 * * 5#2", "day of week", '"5#2" is not a number or one of sun, mon, tue, wed, thu, fri, sat'),
        ("0 24 * * *", "hour", '"24" is above 23'),
        ("*/0 * * * *", "minute", 'the step of "*/0" is 0'),
        ("0 6 * *", "", "it has 4 fields and needs 5: minute hour day month weekday"),
        ("*/99999999999999999999 * * * *", "minute", '"99999999999999999999" is too large'),
    ],
)
def test_a_refusal_names_the_field_and_what_is_wrong(text: str, field: str, problem: str) -> None:
    with pytest.raises(schedule.InvalidSchedule) as refused:
        schedule.parse(text)
    assert (refused.value.field, refused.value.problem) == (field, problem)


def test_a_number_of_any_length_is_refused_at_once() -> None:
    with pytest.raises(schedule.InvalidSchedule, match="value out of range"):
        schedule.parse(f"{'9' * 100_000} * * * *")
