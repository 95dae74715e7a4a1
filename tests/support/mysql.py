"""A real MariaDB server for tests, from Debian's mariadb-server; tests that need it are skipped where it is not."""

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pymysql
import pytest

from support import controlplane
from support.controlplane import LOOPBACK, Place, free_port

USER, PASSWORD = "loader", "penstock-tests-secret"


@dataclass(frozen=True)
class Server:
    """A running server, whose administrator needs no password on its socket."""

    host: str
    port: int
    socket_file: Path

    def execute(self, *statements: str, database: str | None = None) -> None:
        """Execute statements as the administrator."""
        connection = pymysql.connect(unix_socket=str(self.socket_file), user="root", database=database, autocommit=True)
        with connection, connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)

    def rows(self, query: str, database: str) -> list[tuple[Any, ...]]:
        """What a query gives the administrator."""
        connection = pymysql.connect(unix_socket=str(self.socket_file), user="root", database=database)
        with connection, connection.cursor() as cursor:
            cursor.execute(query)
            return list(cursor.fetchall())

    def database(self, name: str, *statements: str) -> str:
        """A new database that USER may read, after these statements in it."""
        self.execute(f"CREATE DATABASE `{name}`", f"GRANT SELECT ON `{name}`.* TO '{USER}'@'%'")
        self.execute(*statements, database=name)
        return name


@contextmanager
def serve(folder: Path, place: Place = LOOPBACK, settings: Sequence[str] = ()) -> Iterator[Server]:
    """A server with an empty data folder beneath `folder`, on a free port. `settings` are options of mariadbd."""
    daemon, install = (shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin") for name in
                       ("mariadbd", "mariadb-install-db"))  # fmt: skip
    if daemon is None or install is None:
        pytest.skip("MariaDB is not here: apt-get install mariadb-server")
    folder.mkdir(parents=True, exist_ok=True)
    data, port = folder / "data", free_port()
    socket_file = Path("/tmp") / f"penstock-mariadb-{port}.sock"  # a path as short as a socket's must be
    own = [f"--datadir={data}", *(["--user=root"] if os.geteuid() == 0 else [])]
    setup = [install, "--no-defaults", *own, "--auth-root-authentication-method=normal", "--skip-test-db"]
    subprocess.run(setup, check=True, capture_output=True, timeout=120)
    command = [*place.enter, daemon, "--no-defaults", *own, f"--bind-address={place.address}", f"--port={port}",
               f"--socket={socket_file}", "--skip-log-bin", "--innodb-flush-log-at-trx-commit=0",
               *settings]  # fmt: skip
    server = Server(place.address, port, socket_file)
    with controlplane.process(folder, "mariadb", *command) as process:
        _await(server, process)
        server.execute(f"CREATE USER '{USER}'@'%' IDENTIFIED BY '{PASSWORD}'")
        yield server


def _await(server: Server, process: "subprocess.Popen[bytes]") -> None:
    for _ in range(600):
        with socket.socket() as probe:
            if probe.connect_ex((server.host, server.port)) == 0:
                server.execute("SELECT 1")
                return
        if process.poll() is not None:
            break
        time.sleep(0.1)
    raise RuntimeError("MariaDB does not start")
