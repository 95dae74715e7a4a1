"""Random histories of a PostgreSQL table against a plain model: what was committed there is loaded once, no more.

Sessions insert and update in transactions that stay open, commit in any order, or roll back; some are prepared. Between
them runs read by the cursor; some are killed before they commit, so that their state is lost with their rows.
"""

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from connectors.contract.increments import read
from connectors.test_postgres import secret, source, the_source
from penstock.connectors.postgres.source import PostgresSource
from support import postgres
from support.postgres import Server

SESSIONS = 3
STEPS = 60
KINDS = ["timestamptz", "timestamp", "date"]


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with postgres.serve(settings=("max_prepared_transactions=4",)) as running:
        yield running


class History:
    """One table, its writers, and the table that it is loaded into: by id the words that were appended."""

    def __init__(self, server: Server, root: Path, name: str, seed: int, *, append: bool) -> None:
        self.chance, self.append = random.Random(seed), append
        self.kind = self.chance.choice(KINDS)
        self.server, self.name, self.numbers = server, server.database(name), iter(range(1, 10_000))
        default = "now()" if self.kind != "timestamp" else "localtimestamp"
        self.execute(f"CREATE TABLE things (id bigint PRIMARY KEY, word text, at {self.kind} DEFAULT {default})")
        secret(root)
        self.port: PostgresSource = the_source(root, source(server, self.name))
        self.sessions: list[Any] = [server.connect(self.name) for _ in range(SESSIONS)]
        self.prepared: str | None = None
        self.state: Any = None
        self.loaded: dict[int, list[str]] = {}

    def execute(self, statement: str) -> None:
        self.server.execute(statement, database=self.name)

    def write(self) -> None:
        """Insert in a session, which begins a transaction if it has none; an update moves the cursor's value."""
        session = self.chance.choice(self.sessions)
        if session.info.transaction_status.name == "IDLE":
            session.execute("BEGIN")
        if self.append or self.chance.random() < 0.7:
            session.execute(f"INSERT INTO things VALUES ({next(self.numbers)}, 'new')")
            return
        row = session.execute("SELECT id FROM things ORDER BY random() LIMIT 1 FOR UPDATE SKIP LOCKED").fetchone()
        if row is not None:
            session.execute(f"UPDATE things SET word = 'w{next(self.numbers)}', at = DEFAULT WHERE id = {row[0]}")

    def end(self) -> None:
        """Commit, roll back or prepare what a session has done; or commit what was prepared."""
        session = self.chance.choice(self.sessions)
        choice = self.chance.random()
        if self.prepared is not None and choice < 0.3:
            self.execute(f"COMMIT PREPARED '{self.prepared}'")
            self.prepared = None
        elif session.info.transaction_status.name == "INTRANS":
            if choice > 0.9 and self.prepared is None:
                self.prepared = f"{self.name}-{next(self.numbers)}"
                session.execute(f"PREPARE TRANSACTION '{self.prepared}'")
            else:
                session.execute("COMMIT" if choice < 0.8 else "ROLLBACK")

    def run(self) -> None:
        """Read; half of the runs are killed before they commit rows and state together."""
        increment = read(self.port, "things", "at", self.state, ("id", "word"), append=self.append)
        if self.chance.random() < 0.5:
            return
        self.state = increment.state
        for row in increment.rows:
            words = self.loaded.setdefault(row["id"], [])
            if self.append or words != [row["word"]]:
                self.loaded[row["id"]] = [*words, row["word"]] if self.append else [row["word"]]

    def settle(self) -> None:
        """End all transactions, and read what is left."""
        for session in self.sessions:
            session.execute("COMMIT")
            session.close()
        if self.prepared is not None:
            self.execute(f"COMMIT PREPARED '{self.prepared}'")
        increment = read(self.port, "things", "at", self.state, ("id", "word"), append=self.append)
        self.state = increment.state
        for row in increment.rows:
            self.loaded[row["id"]] = [*(self.loaded.get(row["id"], []) if self.append else []), row["word"]]

    def there(self) -> dict[int, list[str]]:
        """What must be loaded: each row once, as it is now."""
        return {number: [word] for number, word in self.server.rows("SELECT id, word FROM things", self.name)}


@pytest.mark.parametrize("seed", range(6))
def test_each_committed_row_is_loaded_once(server: Server, tmp_path: Path, seed: int) -> None:
    history = History(server, tmp_path, f"history{seed}", seed, append=seed % 2 == 0)
    for _ in range(STEPS):
        act = history.chance.choices((history.write, history.end, history.run), (5, 4, 1))[0]
        act()
    history.settle()
    assert history.loaded == history.there()
    if history.append:
        assert read(history.port, "things", "at", history.state).ids == []
