"""CSV as other systems write it with a backslash as the escape character: MariaDB and PostgreSQL themselves."""

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support import mysql, postgres
from worker.pods import APod, a_pod, csv, field

PIECES = ["a", "é", ",", ";", "\t", '"', '""', "\\", "\\\\", "\\N", "\n", "\r\n", "\\\n", "N", "'", " ", "\x01", "😀"]
Row = tuple[int, str | None, str | None]


def some_rows(seed: int) -> list[Row]:
    """Rows of a number and two texts, with whatever a dialect may stumble over."""
    chosen = random.Random(seed)

    def text() -> str | None:
        return None if chosen.random() < 0.2 else "".join(chosen.choices(PIECES, k=chosen.randint(0, 7)))

    return [(number, text(), text()) for number in range(400)]


def loaded(folder: Path, content: bytes, **form: Any) -> list[Row]:
    """The rows that the worker makes of the file; none of them is bad."""
    fields = (field("n", "long", from_="column0"), field("a", "string", from_="column1"))
    pod: APod = a_pod(folder, *fields, field("b", "string", from_="column2"), form=csv(header=False, **form))
    (pod.data / "a.csv").write_bytes(content)
    report = pod.work()
    assert (report.state, pod.bad()) == ("Succeeded", []), report.message
    return sorted((row["n"], row["a"], row["b"]) for row in pod.rows())


def of_mariadb(text: str | None) -> str:
    """The text as SQL, byte for byte."""
    return "NULL" if text is None else f"CONVERT(X'{text.encode().hex()}' USING utf8mb4)"


@pytest.fixture(scope="module")
def mariadb(tmp_path_factory: pytest.TempPathFactory) -> Iterator[mysql.Server]:
    with mysql.serve(tmp_path_factory.mktemp("mariadb")) as server:
        yield server


@pytest.fixture(scope="module")
def postgresql() -> Iterator[postgres.Server]:
    with postgres.serve() as server:
        yield server


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_what_mariadb_writes_with_quotes_is_read_as_it_is(
    delimiter: str, mariadb: mysql.Server, tmp_path: Path
) -> None:
    name, rows = f"of_{ord(delimiter)}", some_rows(ord(delimiter))
    create = "CREATE TABLE t (n BIGINT, a TEXT CHARACTER SET utf8mb4, b TEXT CHARACTER SET utf8mb4)"
    mariadb.database(name, "SET NAMES utf8mb4", create)
    written = ", ".join(f"({number}, {of_mariadb(a)}, {of_mariadb(b)})" for number, a, b in rows)
    mariadb.execute(f"INSERT INTO t VALUES {written}", database=name)
    target = mariadb.socket_file.with_name(f"penstock-outfile-{mariadb.port}-{name}")
    try:
        mariadb.execute(
            f"SELECT * INTO OUTFILE '{target}' CHARACTER SET utf8mb4 FIELDS TERMINATED BY '{delimiter}' "
            """ENCLOSED BY '"' FROM t""",
            database=name,
        )
        content = target.read_bytes()
    finally:
        target.unlink(missing_ok=True)
    assert loaded(tmp_path, content, delimiter=delimiter, escape="\\", nullValues=["\\N"]) == rows


@pytest.mark.parametrize("options", ["", ", FORCE_QUOTE *", ", NULL '\\N'", ", DELIMITER ';'"])
def test_what_postgresql_writes_as_csv_is_read_as_it_is(
    options: str, postgresql: postgres.Server, tmp_path: Path
) -> None:
    rows = some_rows(len(options))
    with postgresql.connect() as connection:
        connection.execute("CREATE TEMPORARY TABLE t (n BIGINT, a TEXT, b TEXT)")
        with connection.cursor() as cursor:
            cursor.executemany("INSERT INTO t VALUES (%s, %s, %s)", rows)
            with cursor.copy(f"COPY t TO STDOUT (FORMAT csv, ESCAPE '\\'{options})".encode()) as copy:
                content = b"".join(bytes(part) for part in copy)
    nulls = ["\\N"] if "NULL" in options else [""]
    delimiter = ";" if "DELIMITER" in options else ","
    assert loaded(tmp_path, content, escape="\\", nullValues=nulls, delimiter=delimiter) == rows
