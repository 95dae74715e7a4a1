"""How far a run is: rows, and bytes of the inputs whose size is known, one line of the log every few seconds."""

import logging
import time
from dataclasses import dataclass, field
from threading import Lock
from typing import BinaryIO, cast

from penstock.connectors.files.stores import Found, Open
from penstock.runs import places
from penstock.runs.report import Progress

log = logging.getLogger(__name__)

SECONDS = 2.0
"""Between two lines."""


@dataclass
class Meter:
    """Counts over all threads. `total` is the size of all inputs in bytes, None where a server does not tell it."""

    dataset: str
    total: int | None
    rows: int = 0
    bad: int = 0
    bytes: int = 0
    """Bytes read, as they lie at the source: compressed where files are."""
    _began: float = field(default_factory=time.monotonic)
    _logged: float = field(default_factory=time.monotonic)
    _lock: Lock = field(default_factory=Lock)

    def count(self, *, rows: int = 0, bad: int = 0, read: int = 0) -> None:
        """Add what was read; from time to time, log how far the run is."""
        with self._lock:
            self.rows, self.bad, self.bytes = self.rows + rows, self.bad + bad, self.bytes + read
            now = time.monotonic()
            if now - self._logged < SECONDS:
                return
            self._logged = now
            state = Progress(
                dataset=self.dataset,
                rows=self.rows,
                bad=self.bad,
                seconds=round(now - self._began, 1),
                bytes=self.bytes,
                total_bytes=self.total,
            )
        log.info("%s%s", places.PROGRESS_LINE, state.model_dump_json(by_alias=True, exclude_none=True))

    def metered(self, opened: Open) -> Open:
        """What opens an input, such that its bytes are counted as they are read."""
        return lambda found: cast(BinaryIO, _Metered(opened(found), self))

    def passed(self, inputs: list[Found]) -> None:
        """Count the bytes of inputs that were read as a whole."""
        self.count(read=sum(max(found.size, 0) for found in inputs))


class _Metered:
    """A stream whose bytes are counted."""

    def __init__(self, stream: BinaryIO, meter: Meter) -> None:
        self._stream, self._meter = stream, meter

    def read(self, size: int = -1) -> bytes:
        """The next bytes, at most `size` of them."""
        block = self._stream.read(size)
        self._meter.count(read=len(block))
        return block

    def close(self) -> None:
        """Close the stream."""
        self._stream.close()

    def __enter__(self) -> "_Metered":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
