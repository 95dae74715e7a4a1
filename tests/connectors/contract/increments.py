"""Reading by a cursor through the port alone: what a run would read, and the state that it would commit."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from penstock.worker.ports.source import CursorRequest, Source, StreamRequest
from penstock.worker.rows import engine


@dataclass(frozen=True)
class Increment:
    """What one run has read, in order: rows by column. `state` is what it would commit."""

    rows: list[dict[str, Any]]
    state: Any
    ignored: int

    @property
    def ids(self) -> list[Any]:
        """The column id of the rows."""
        return [row["id"] for row in self.rows]


def read(
    source: Source, stream: str, column: str, state: Any = None, names: Sequence[str] = ("id",), **request: Any
) -> Increment:
    """One run, which reads the columns `names`; by default of an append. `request` are more of `CursorRequest`."""
    asked = CursorRequest(column, **{"append": True, "state": state, **request})
    rows: list[dict[str, Any]] = []
    ignored = 0
    with source.session([StreamRequest(stream, "incremental", state)]) as session, engine.small() as connection:
        plan = session.plan(stream, asked)
        after = state if plan.state is None else plan.state
        for planned in plan.inputs:
            for opening in session.readers(stream, planned.parts):
                with opening() as reader:
                    for work in reader.works(names):
                        rows += [
                            dict(zip(names, row.values(), strict=True)) for row in work(connection).table.to_pylist()
                        ]
                    after, ignored = reader.state(), ignored + reader.ignored()
    return Increment(rows, after, ignored)
