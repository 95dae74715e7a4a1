"""The lake as a TableStore."""

import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any

from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.exceptions import NoSuchTableError
from pyiceberg.table import Table

from connectors.contract.adapters import Fault, Json, StoreAdapter


class Lake(StoreAdapter):
    system = "lake"

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.warehouse = self.claim("lake") / "wh"
        self.connector = {"warehouse": "file:///volumes/lake/wh", "volume": {"claimName": "lake"}}

    def table(self, name: str) -> Table | None:
        """The table as plain pyiceberg reads it."""
        url = f"sqlite:///{self.warehouse}/catalog.db"
        with suppress(NoSuchTableError):
            return SqlCatalog("penstock", uri=url, warehouse=self.warehouse.as_uri()).load_table(f"main.{name}")
        return None

    def rows(self, table: str) -> list[Json]:
        there = self.table(table)
        rows: list[dict[str, Any]] = [] if there is None else there.scan().to_arrow().to_pylist()
        return rows

    def staged(self) -> int:
        committed: set[str] = set()
        for folder in (self.warehouse / "main").iterdir():
            if (table := self.table(folder.name)) is not None:
                committed |= {Path(task.file.file_path).name for task in table.scan().plan_files()}
        return len({path.name for path in self.warehouse.rglob("*.parquet")} - committed)


def _not_mounted(adapter: Lake) -> None:
    shutil.rmtree(adapter.warehouse.parent)


def _a_file(adapter: Lake) -> None:
    adapter.warehouse.write_text("in the way")


Lake.faults = (
    Fault("no claim", "ResourceNotFound", _not_mounted),
    Fault("a file in the way", "WrongSpecification", _a_file),
)

STORES = (Lake,)
