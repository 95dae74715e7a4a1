"""What the Go module that Kubernetes uses says about schedules, as `tests/crontable/main.go` printed it."""

import functools
import json
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

MODULE = Path(__file__).parent.parent / "crontable"
TABLE = MODULE / "table.tsv"


class Next(NamedTuple):
    """The times after a moment that Go computed; at the end None where it found none."""

    zone: str
    schedule: str
    after: datetime
    times: list[datetime | None]


@functools.cache
def rows(kind: str) -> list[list[str]]:
    """The fields of all records of one kind, without the kind."""
    lines = TABLE.read_text(encoding="utf-8").split("\n")
    return [fields[1:] for fields in (line.split("\t") for line in lines) if fields[0] == kind]


def accepted() -> list[str]:
    """The schedules that are accepted."""
    return [json.loads(text) for (text,) in rows("accepts")]


def refused() -> list[tuple[str, str]]:
    """The schedules that are refused, each with Go's message."""
    return [(json.loads(text), json.loads(message)) for text, message in rows("refuses")]


def zones() -> list[tuple[str, bool]]:
    """Names, and whether each is a time zone."""
    return [(json.loads(name), accepted == "true") for name, accepted in rows("zone")]


def times() -> list[Next]:
    """The times of schedules."""
    return [
        Next(
            zone,
            json.loads(schedule),
            datetime.fromisoformat(after),
            [datetime.fromisoformat(at) if at != "-" else None for at in found],
        )
        for zone, schedule, after, *found in rows("next")
    ]
