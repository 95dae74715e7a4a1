"""How far a run is: rows, and bytes of the inputs whose size is known, one line of the log every few seconds."""

import logging
import time
from dataclasses import dataclass, field
from threading import Lock

from penstock.runs import places
from penstock.runs.report import Progress

log = logging.getLogger(__name__)

SECONDS = 2.0
"""Between two lines."""


@dataclass
class Meter:
    """Counts over all threads. `total` is the size of all inputs in bytes, None where a server does not say it."""

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
