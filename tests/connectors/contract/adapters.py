"""What each system tells the contract suite: how to start its server, how to fill it, and what to expect.

A module of `connectors/systems` has the adapters of one system in the tuples SOURCES, STORES and TARGETS. Adding a
system to the suite adds one such module; the tests find it there.
"""

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import Any, ClassVar, Literal, Self

from penstock.language.conditions import Reason

Json = dict[str, Any]
Row = dict[str, str]
"""A row of a stream: `id`, which is a number in digits, and `word`."""
BAD = object()
"""Expected of a cell whose row must be in the quarantine."""


@dataclass(frozen=True)
class Cell:
    """One cell of a system's type matrix: what is written, and what a field of the type must hold afterwards.

    Cells of one column have one type at the source. `written` is the system's own affair: a literal, a value.
    """

    column: str
    field_type: str
    written: Any
    expected: Any
    discovered: str | None = None
    """The type that discovery must report for the column; None: `field_type`."""


@dataclass(frozen=True)
class Fault:
    """A way in which a system cannot be used: what brings it about, and the reason that must be given."""

    name: str
    reason: Reason
    bring_about: Callable[[Any], None]
    """Called with the running adapter, before the order is made."""
    fails_runs: bool = True
    """Whether a run fails too, for the same reason; an incremental load of a folder that is still empty does not."""


class Adapter(ABC):
    """A system's server, running for one test. `root` is the folder that stands for `/` in the Pod.

    `connector`, `auth` and `secrets` are read each time an order is made; a Fault may change them.
    """

    system: ClassVar[str]
    """The member of `connector`, as the registry has it."""
    name: ClassVar[str] = ""
    """In the names of the tests, where one system has several adapters; by default the system's."""
    faults: ClassVar[tuple[Fault, ...]] = ()
    """The reasons that `check` can give; those of credentials among them."""
    public: ClassVar[tuple[str, ...]] = ()
    """Keys of the Secrets whose values may be shown."""
    connector: Json
    auth: Json | None = None
    secrets: dict[str, dict[str, str]]
    """The Secrets of the Pod, by name; their values must never be shown."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.secrets = {}

    @classmethod
    @contextmanager
    def running(cls, root: Path) -> Iterator[Self]:
        """The adapter with its server, ended after the block. Override it where a process is to be started."""
        yield cls(root)

    @property
    def hidden(self) -> list[str]:
        """What must never be shown: the values of the Secrets, and their lines."""
        keys = [item for keys in self.secrets.values() for item in keys.items()]
        values = [value for key, value in keys if key not in self.public]
        lines = [line for value in values for line in re.split(r"\n|\\n", value) if not line.startswith("-----")]
        return [text for text in (*values, *lines) if len(text) > 3]

    def claim(self, name: str) -> Path:
        """The folder that a claim is mounted at; created where it is missing."""
        folder = self.root / "volumes" / name
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    @property
    def address(self) -> tuple[str, int] | None:
        """Host and port of the server; None: there is no network between, and the tests of it do not apply."""
        return None

    def reach_through(self, host: str, port: int) -> None:
        """Change `connector` so that the server is reached at this address. Needed where `address` is not None."""
        raise NotImplementedError

    def rotate(self) -> dict[str, dict[str, str]] | None:
        """Change the password at the server and return the Secrets that fit it; None: there are no credentials."""
        return None


class SourceAdapter(Adapter):
    """A system that data comes from, with the streams `streams`; each has the columns `id` and `word`."""

    streams: ClassVar[tuple[str, ...]] = ("orders", "people")
    """A system with one stream for each Source has one here."""
    write_mode: ClassVar[Literal["append", "replace"]] = "append"
    implementation: ClassVar[str | None] = None
    """`module:class` of a Source that takes the place of `system`'s, for those that exist in tests alone."""
    matrix: ClassVar[tuple[Cell, ...]] = ()
    typed: ClassVar[bool] = True
    """Whether the system knows the types of its columns; else discovery guesses them, and is not compared."""
    hostile_columns: ClassVar[tuple[str, ...]] = ()
    """Names as odd as the system allows, for `fill_hostile`."""
    another_login: ClassVar[bool] = False
    """Whether it is another adapter with another login alone: then only what concerns credentials is tested."""
    consistent: ClassVar[bool] = True
    """Whether a run loads what was there when it began; else it may fail where that has changed since."""

    loads_whole: ClassVar[bool] = False
    """Whether an input is in memory as a whole; one beyond a bound is then refused, which the system's tests show."""

    @property
    def sync(self) -> str:
        """The sync mode that goes with the write mode."""
        return "full" if self.write_mode == "replace" else "incremental"

    @abstractmethod
    def fill(self, stream: str, rows: Sequence[Row]) -> None:
        """Let the stream have these rows and no others."""

    @abstractmethod
    def add(self, stream: str, rows: Sequence[Row]) -> None:
        """Let the stream have these rows, too."""

    def fill_matrix(self) -> str:
        """Make a stream with a column `id` and the columns of `matrix`; its name.

        Its row number n, from 0, has n as `id`, the cell number n of `matrix` in that cell's column, and nulls.
        """
        raise NotImplementedError

    def fill_hostile(self) -> str:
        """Make a stream with an odd name, the columns `hostile_columns`, and one row: v0, v1, …; the stream's name."""
        raise NotImplementedError

    def fill_large(self, stream: str, count: int, width: int) -> None:
        """Let the stream have `count` rows, whose words have `width` characters each."""
        self.fill(stream, [{"id": str(number), "word": f"{number:0{width}d}"} for number in range(count)])

    def acknowledged(self) -> None:
        """Assert that the server has forgotten what was committed, where it does so."""


class StoreAdapter(Adapter):
    """A system that holds the tables of Datasets."""

    @abstractmethod
    def rows(self, table: str) -> list[Json]:
        """The rows of a Dataset's table or quarantine, with lineage, as a plain client of the system reads them.

        An empty list where there is no such table. Times are aware datetimes, decimals are Decimals.
        """

    @abstractmethod
    def drop(self, table: str) -> None:
        """Drop a table as a person does with a plain client of the system."""

    def staged(self) -> int:
        """How many objects lie in the system that were staged and are of no commit: files, staging tables."""
        return 0


class TargetAdapter(Adapter):
    """A system that Subscriptions deliver to."""

    settings: ClassVar[Json] = {}
    """What the order to deliver says beside the Destination."""
    replaces: ClassVar[bool] = False
    """Whether a delivery takes the place of the one before, so that only the newest one can be read."""

    @abstractmethod
    def batches(self) -> list[list[Json]]:
        """The deliveries in any order, each with its rows, as a receiver reads them who goes by the guarantee."""

    @abstractmethod
    def delivered(self) -> int:
        """How many batches were delivered, by what the system itself has of them."""


class DeliveredTableAdapter(TargetAdapter):
    """A table that Subscriptions deliver into; its name is a word of SQL, and has letters of both cases."""

    settings: ClassVar[Json] = {"table": "Order"}
    replaces = True

    @abstractmethod
    def read(self, table: str) -> list[Json]:
        """The rows of a table, none where it is missing."""

    def batches(self) -> list[list[Json]]:
        return [self.read("Order")]

    def delivered(self) -> int:
        return len(self.read("penstock_batches"))


SOURCES: dict[str, type[SourceAdapter]] = {}
STORES: dict[str, type[StoreAdapter]] = {}
TARGETS: dict[str, type[TargetAdapter]] = {}


def _register() -> None:
    systems = Path(__file__).parents[1] / "systems"
    for module in iter_modules([str(systems)]):
        loaded = import_module(f"connectors.systems.{module.name}")
        adapters: dict[str, Any]
        for part, adapters in (("SOURCES", SOURCES), ("STORES", STORES), ("TARGETS", TARGETS)):
            for adapter in getattr(loaded, part, ()):
                adapters[adapter.name or adapter.system] = adapter


_register()
