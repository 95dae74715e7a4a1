"""Beside the line: the ends of workers' logs, for what is only shown: messages, columns, sizes, URLs.

Nothing is decided by it. A log that cannot be read, or not quickly, leaves a report as short as the termination message
has it. Each log is read once, when its Pod's end is news; afterwards status has what it said.
"""

import asyncio
import logging
from collections import OrderedDict
from dataclasses import dataclass, field, replace
from typing import cast

from penstock.api.dataset import DatasetStatus
from penstock.control import due
from penstock.control.cluster.port import Cluster, ClusterError
from penstock.control.observe import Observed, Seen
from penstock.control.resolve import Graph
from penstock.runs import order, report

log = logging.getLogger(__name__)

MOST_LOGS = 4
"""How many logs one reconciliation reads, those of the newest Jobs."""
SECONDS = 5.0
"""How long it waits for all of them."""
_REMEMBERED = 64


@dataclass
class Logs:
    """The last lines that were read, by Pod; empty where one could not be read."""

    lines: "OrderedDict[str, str]" = field(default_factory=OrderedDict)

    def remember(self, pod: str, line: str) -> None:
        """Keep a line; the oldest goes when there are too many."""
        self.lines[pod] = line
        while len(self.lines) > _REMEMBERED:
            self.lines.popitem(last=False)


async def details(graph: Graph, seen: Seen, logs: Logs, cluster: Cluster, seconds: float = SECONDS) -> Seen:
    """What was seen, with what the logs of Jobs that have just ended show beyond it. Raises nothing."""
    news = [run for run in seen.runs if _is_news(run, graph)][:MOST_LOGS]
    try:
        async with asyncio.timeout(seconds):
            for run in news:
                if run.pod not in logs.lines:
                    logs.remember(str(run.pod), await _last_line(graph.key.namespace, run, cluster))
    except TimeoutError:
        log.info("%s: a log takes too long to read; what is only shown there is left out", graph.key)
    return Seen(tuple(_with_line(run, logs.lines.get(run.pod or "", "")) for run in seen.runs))


async def _last_line(namespace: str, run: Observed, cluster: Cluster) -> str:
    try:
        return await cluster.log(namespace, str(run.pod), tail=1)
    except ClusterError as error:
        log.info("Job %s: what only its log shows is left out: %s", run.job, error.message)
        return ""


def _with_line(run: Observed, line: str) -> Observed:
    if run.report is None or not line:
        return run
    whole = report.with_details(run.report, line)
    failed = run.report.state == "Failed" and run.message == run.report.message
    return replace(run, report=whole, message=whole.message if failed else run.message)


def _is_news(run: Observed, graph: Graph) -> bool:
    """Whether a worker has ended and status does not have its report yet."""
    if run.report is None or run.report.complete or run.pod is None:
        return False
    if graph.key.kind == "Dataset":  # its status has a report as soon as the Pod has, before the Job is over
        return run.report.finished_at > (cast(DatasetStatus, graph.status).last_report_time or "")
    if not run.over:
        return False
    if run.purpose in order.RUNS and graph.key.kind in ("Pipeline", "Subscription"):
        return all(
            (published.job, published.state) != (run.job, run.state) for published in getattr(graph.status, "runs", [])
        )
    published = due.upkeep_status(graph)
    return published is None or published.state == "Running" or published.attempt != run.attempt
