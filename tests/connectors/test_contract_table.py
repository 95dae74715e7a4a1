"""The table of the contract has every system, and a row for every test."""

from collections.abc import Mapping

from connectors.contract import table
from connectors.contract.adapters import SOURCES, STORES, TARGETS, Adapter


def test_every_system_has_its_column_and_every_test_somebody_to_test() -> None:
    ports: tuple[Mapping[str, type[Adapter]], ...] = (SOURCES, STORES, TARGETS)
    page = table.page()
    tables = [part.splitlines() for part in page.split("\n## ")[1:]]
    assert [lines[0] for lines in tables] == ["Sources", "Table stores", "Targets"]
    for lines, adapters in zip(tables, ports, strict=True):
        rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")]
        assert rows[0] == ["Test", *adapters]
        assert len(rows) > 6
        assert all(any(cell.isdigit() for cell in row[1:]) for row in rows[2:])
