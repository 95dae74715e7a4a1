"""What a run does while somebody waits for it: how far its load is, or how its last attempt failed."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.status import Status
from rich.text import Text

from penstock.cli import glance
from penstock.language import words
from penstock.runs import places, report, summary
from penstock.runs.report import Progress

if TYPE_CHECKING:
    from penstock.control.cluster.port import Cluster

Pod = Mapping[str, Any]

_TAIL = 50
"""Lines of the log among which the newest progress is."""
_LINE_SECONDS = 10.0
"""Between two lines of progress where there is no terminal to write them over one another."""
_UNITS = ("bytes", "kB", "MB", "GB", "TB")


async def of_job(cluster: "Cluster", namespace: str, job: str) -> str:
    """How far the newest Pod of a Job is, in words; empty where there is nothing to say yet."""
    from penstock.control.cluster.port import NotFound
    from penstock.control.cluster.store import JOB_NAME

    pods = (await cluster.list("Pod", namespace, f"{JOB_NAME}={job}")).items
    if not pods:
        return ""
    pods = sorted(pods, key=lambda pod: str(pod["metadata"]["creationTimestamp"]))
    phase = (pods[-1].get("status") or {}).get("phase")
    if phase == "Failed":
        return failed_attempt(pods)
    if phase != "Running":
        return ""
    try:
        log = await cluster.log(namespace, pods[-1]["metadata"]["name"], _TAIL)
    except NotFound:
        return ""
    return in_log(log)


def failed_attempt(pods: Sequence[Pod]) -> str:
    """How the newest of a Job's Pods failed, while the Job has yet to start another one."""
    number = len(pods)
    for container in (pods[-1].get("status") or {}).get("containerStatuses") or []:
        ended = (container.get("state") or {}).get("terminated") or {}
        reported = summary.decode(ended.get("message") or "")
        if reported is not None and reported.message:
            why = f"attempt {number} failed: {reported.reason}. {reported.message.rstrip('.')}"
            # With this exit code the Job fails at once.
            return why if ended.get("exitCode") == places.EXIT_CONFIGURATION else f"{why}. Another attempt follows"
    return f"attempt {number} ended without a report. Another attempt follows"


def in_log(log: str) -> str:
    """The newest progress in a worker's log, in words; empty where there is none."""
    line = report.marked(log, places.PROGRESS_LINE)
    return in_words(Progress.model_validate_json(line)) if line is not None else ""


def in_words(state: Progress) -> str:
    """Rows, rows a second and, where the size is known, the share and the time that is left."""
    bad = f" ({state.bad:,} bad)" if state.bad else ""
    rate = state.rows / state.seconds if state.seconds else 0.0
    parts = [f"{state.dataset}: {words.count(state.rows, 'row')} read{bad}", f"{rate:,.0f} rows/s"]
    if state.total_bytes and state.bytes:
        share = min(state.bytes / state.total_bytes, 1.0)
        parts.append(f"{share:.0%} of {size(state.total_bytes)}")
        if 0 < share < 1:
            parts.append(f"about {glance.span(state.seconds * (1 - share) / share + 1)} left")
    return ", ".join(parts)


def size(number: int) -> str:
    """A number of bytes in its largest unit: `512 bytes`, `1.2 GB`."""
    value, unit = float(number), 0
    while value >= 1000 and unit < len(_UNITS) - 1:
        value, unit = value / 1000, unit + 1
    return f"{value:.1f} {_UNITS[unit]}" if unit else f"{number:,} bytes"


@dataclass
class Display:
    """Shows progress: on a terminal in one line that is written over, elsewhere as a line now and then."""

    console: Console
    _shown: str = ""
    _printed: float = field(default_factory=lambda: time.monotonic() - _LINE_SECONDS)
    _status: Status | None = None

    def show(self, line: str) -> None:
        """Show how far it is."""
        if not line or line == self._shown:
            return
        self._shown = line
        if self.console.is_terminal:
            if self._status is None:
                self._status = self.console.status("")
                self._status.start()
            self._status.update(Text(line))
        elif time.monotonic() - self._printed >= _LINE_SECONDS:
            self._printed = time.monotonic()
            self.console.print(Text(line))

    def end(self) -> None:
        """Remove the line."""
        if self._status is not None:
            self._status.stop()
            self._status = None
