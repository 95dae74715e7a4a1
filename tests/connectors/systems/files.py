"""Files: a Source in a folder and on a web server, and a Target."""

import base64
import io
import json
import shutil
import threading
from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from csv import reader
from datetime import UTC, date, datetime
from decimal import Decimal
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar, Self

import pyarrow.parquet as pq

from connectors.contract.adapters import BAD, Cell, Fault, Json, Row, SourceAdapter, TargetAdapter
from support.workbook import workbook

_MATRIX = (
    Cell("i", "long", "9223372036854775807", 2**63 - 1),
    Cell("i", "long", "9223372036854775808", BAD),
    Cell("i", "long", "1.0", 1),
    Cell("s", "string", 'a "b", ä\U0001f600', 'a "b", ä\U0001f600'),
    Cell("s", "string", "two\nlines", "two\nlines"),
    Cell("r", "double", "-0.1", -0.1),
    Cell("r", "double", "much", BAD),
    Cell("n", "decimal(5,2)", "123.45", Decimal("123.45")),
    Cell("n", "decimal(5,2)", "123.455", BAD),
    Cell("d", "date", "2024-02-29", date(2024, 2, 29)),
    Cell("d", "date", "2023-02-29", BAD),
    Cell("ts", "timestamp", "2026-01-31T12:00:00.123456", datetime(2026, 1, 31, 12, 0, 0, 123456)),
    Cell("tz", "timestamptz", "2026-01-31T12:00:00+02:00", datetime(2026, 1, 31, 10, tzinfo=UTC)),
    Cell("b", "boolean", "true", True),
    Cell("b", "boolean", "perhaps", BAD),
)


def csv(rows: Sequence[Sequence[str | None]]) -> bytes:
    """Each cell in quotes, but for nulls, which are empty."""
    lines = [",".join(_quoted(cell) for cell in row) for row in rows]
    return "".join(f"{line}\n" for line in lines).encode()


def _quoted(cell: str | None) -> str:
    return "" if cell is None else '"' + cell.replace('"', '""') + '"'


class Files(SourceAdapter):
    """CSV files somewhere: a new file for what is added. `place` is the URL of their folder."""

    system = "files"
    streams = ("orders",)
    matrix = _MATRIX
    typed = False
    hostile_columns = ('a "b"', "select", "x'y", "ä", "a.b", "line\nbreak", "$1", "%s", " ")

    @abstractmethod
    def write(self, name: str, content: bytes) -> None:
        """Create or replace a file as a whole, as a writer does who knows of readers."""

    @abstractmethod
    def names(self) -> list[str]:
        """The names of all files."""

    @abstractmethod
    def remove(self, name: str) -> None:
        """Remove a file."""

    def fill(self, stream: str, rows: Sequence[Row]) -> None:
        for name in self.names():
            self.remove(name)
        self.add(stream, rows)

    def add(self, _: str, rows: Sequence[Row]) -> None:
        number = len(self.names())
        self.write(f"{number:04d}.csv", csv([("id", "word"), *((row["id"], row["word"]) for row in rows)]))

    def fill_matrix(self) -> str:
        self.fill("orders", [])
        columns = [*dict.fromkeys(cell.column for cell in self.matrix)]
        rows = [
            [str(number), *(cell.written if cell.column == column else None for column in columns)]
            for number, cell in enumerate(self.matrix)
        ]
        self.write("0000.csv", csv([["id", *columns], *rows]))
        return "orders"

    def fill_hostile(self) -> str:
        values = [f"v{number}" for number in range(len(self.hostile_columns))]
        self.write("0000.csv", csv([self.hostile_columns, values]))
        return "orders"


class Folder(Files):
    """A folder on a claim."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.folder = self.claim("data")
        self.connector = {"url": "file:///volumes/data/", "volume": {"claimName": "data"}, "format": {"csv": {}}}

    def write(self, name: str, content: bytes) -> None:
        new = self.folder / f".{name}"
        new.write_bytes(content)
        new.replace(self.folder / name)

    def names(self) -> list[str]:
        return [path.name for path in self.folder.iterdir()]

    def remove(self, name: str) -> None:
        (self.folder / name).unlink()


class Excel(Folder):
    """Workbooks on a claim: cells of text, so that the matrix is that of text."""

    name = "files-excel"
    loads_whole = True

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.connector["format"] = {"excel": {"sheet": "Orders"}}

    def write(self, name: str, content: bytes) -> None:
        rows = reader(io.StringIO(content.decode(), newline=""))
        super().write(f"{Path(name).stem}.xlsx", workbook({"Notes": [], "Orders": rows}))


def _no_claim(adapter: Folder) -> None:
    shutil.rmtree(adapter.folder)


def no_file(adapter: Files) -> None:
    """The glob fits none."""
    adapter.connector["glob"] = "*.parquet"


Folder.faults = (
    Fault("no claim", "ResourceNotFound", _no_claim),
    Fault("no file", "ResourceNotFound", no_file, fails_runs=False),
)
Excel.faults = Folder.faults


class Web(Folder):
    """One file on a web server, which has another version when something is added."""

    name = "files-web"
    consistent = False
    port: int
    wanted: dict[str, str]
    """Headers without which a request is refused."""

    @classmethod
    @contextmanager
    def running(cls, root: Path) -> Iterator[Self]:
        adapter = cls(root)
        adapter.folder = root / "web"
        adapter.folder.mkdir(exist_ok=True)
        adapter.wanted = {}

        class Handler(SimpleHTTPRequestHandler):
            def send_head(self) -> Any:
                if all(self.headers.get(name) == value for name, value in adapter.wanted.items()):
                    return super().send_head()
                self.send_error(401)
                return None

            def log_message(self, *_: object) -> None:
                """Nothing is printed."""

        with ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(adapter.folder))) as server:
            adapter.port = server.server_address[1]
            adapter.reach_through("127.0.0.1", adapter.port)
            adapter.log_in()
            thread = threading.Thread(target=server.serve_forever, daemon=True)
            thread.start()
            try:
                yield adapter
            finally:
                server.shutdown()
                thread.join()

    def log_in(self) -> None:
        """Whoever asks is let in."""

    @property
    def address(self) -> tuple[str, int]:
        return "127.0.0.1", self.port

    def reach_through(self, host: str, port: int) -> None:
        self.connector = {"url": f"http://{host}:{port}/0000.csv", "format": {"csv": {}}}

    def add(self, _: str, rows: Sequence[Row]) -> None:
        path = self.folder / "0000.csv"
        there = path.read_bytes() if path.exists() else csv([("id", "word")])
        self.write(path.name, there + csv([(row["id"], row["word"]) for row in rows]))


class WebBasic(Web):
    name = "files-web-basic"
    another_login = True
    public: ClassVar = ("username",)
    password = "first-tests-secret-91c0"

    def log_in(self) -> None:
        self.auth = {"basic": {"secretRef": {"name": "login"}}}
        self.secrets = self._accept(self.password)

    def _accept(self, password: str) -> dict[str, dict[str, str]]:
        packed = base64.b64encode(f"loader:{password}".encode()).decode()
        self.wanted = {"Authorization": f"Basic {packed}"}
        return {"login": {"username": "loader", "password": password}}

    def rotate(self) -> dict[str, dict[str, str]]:
        return self._accept("second-tests-secret-ä£")


class WebBearer(Web):
    name = "files-web-bearer"
    another_login = True

    def log_in(self) -> None:
        self.auth = {"bearer": {"secretRef": {"name": "login"}}}
        self.secrets = self._accept("first-tests-secret-40b2")

    def _accept(self, token: str) -> dict[str, dict[str, str]]:
        self.wanted = {"Authorization": f"Bearer {token}"}
        return {"login": {"token": token}}

    def rotate(self) -> dict[str, dict[str, str]]:
        return self._accept("second-tests-secret-40b2")


class WebApiKey(Web):
    name = "files-web-api-key"
    another_login = True

    def log_in(self) -> None:
        self.auth = {"apiKey": {"header": "X-Api-Token", "secretRef": {"name": "login"}}}
        self.secrets = self._accept("first-tests-secret-5e5e")

    def _accept(self, key: str) -> dict[str, dict[str, str]]:
        self.wanted = {"X-Api-Token": key}
        return {"login": {"api-key": key}}

    def rotate(self) -> dict[str, dict[str, str]]:
        return self._accept("second-tests-secret-5e5e")


def _set_key(key: str, value: str) -> Callable[[Web], None]:
    def bring_about(adapter: Web) -> None:
        adapter.secrets["login"][key] = value

    return bring_about


def _anonymous(adapter: Web) -> None:
    adapter.auth = None


_GONE = Fault("no file", "ResourceNotFound", lambda adapter: (adapter.folder / "0000.csv").unlink())
_ANONYMOUS = Fault("no credentials", "WrongCredentials", _anonymous)
Web.faults = (
    _GONE,
    Fault("nothing listens", "Unreachable", lambda adapter: adapter.reach_through("127.0.0.1", 9)),
    Fault("no such host", "Unreachable", lambda adapter: adapter.reach_through("nowhere.invalid", 80)),
)
WebBasic.faults = (
    _GONE,
    _ANONYMOUS,
    Fault("wrong password", "WrongCredentials", _set_key("password", "wrong-tests-secret")),
    Fault("a user with a colon", "WrongCredentials", _set_key("username", "a:b")),
    Fault("a key is missing", "SecretMissing", _set_key("username", "")),
)
for _member, _key in ((WebBearer, "token"), (WebApiKey, "api-key")):
    _member.faults = (
        _GONE,
        _ANONYMOUS,
        Fault("wrong", "WrongCredentials", _set_key(_key, "wrong-tests-secret")),
        Fault("two lines", "WrongCredentials", _set_key(_key, "wrong-tests\r\nX-More: secret")),
        Fault("a key is missing", "SecretMissing", _set_key(_key, "")),
    )


class Delivered(TargetAdapter):
    """A folder."""

    system = "files"

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.folder = self.claim("out")
        self.connector = {"url": "file:///volumes/out/", "volume": {"claimName": "out"}}

    def batches(self) -> list[list[Json]]:
        manifests = [json.loads(path.read_bytes()) for path in self.folder.glob("manifest-*.json")]
        return [
            [row for entry in manifest["files"] for row in pq.read_table(self.folder / entry["name"]).to_pylist()]
            for manifest in manifests
        ]

    def delivered(self) -> int:
        return len([*self.folder.glob("manifest-*.json")])


def _no_folder(adapter: Delivered) -> None:
    shutil.rmtree(adapter.folder)


Delivered.faults = (Fault("no claim", "ResourceNotFound", _no_folder),)

SOURCES = (Folder, Excel, Web, WebBasic, WebBearer, WebApiKey)
TARGETS = (Delivered,)
