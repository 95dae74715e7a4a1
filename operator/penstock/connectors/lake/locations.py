"""Where a lake's files lie, as Iceberg writes it: a path behind `file://`, never percent-encoded.

Iceberg's readers take what follows `file://` as it is (pyiceberg and DuckDB do not decode it). Where a path has a
character that would end the path of a URL, the location is the bare path, which they take as well.
"""

import re
from pathlib import Path

_SCHEME = "file://"
_ENDS_A_PATH = re.compile(r"[?#\r\n\t]")


def location(path: Path) -> str:
    """The location of an absolute path."""
    written = str(path)
    return written if _ENDS_A_PATH.search(written) else _SCHEME + written


def path(location: str) -> Path:
    """The path that a location names."""
    return Path(location.removeprefix(_SCHEME))
