"""The controllers' loop: every change names what to look at again, and time does; one at a time, none blocks."""

import asyncio
import contextlib
import logging

from localkube import journal
from localkube.collector import Collector
from localkube.cronjobs import CronJobs
from localkube.errors import Refused
from localkube.jobs import Jobs
from localkube.objects import controller
from localkube.store import Event, Key
from localkube.writes import Writer

_RETRY = 1.0  # seconds after a refusal, mostly a namespace that is going
_TIDY = 600.0  # seconds between two looks for old events
_log = logging.getLogger(__name__)


class Controllers:
    """Jobs, CronJobs and garbage collection over one Writer; `backoff` as in Jobs."""

    def __init__(self, writer: Writer, backoff: float = 10.0) -> None:
        self._writer = writer
        self._jobs, self._cron_jobs, self._collector = Jobs(writer, backoff), CronJobs(writer), Collector(writer)
        self._dirty: dict[Key, None] = {key: None for key, _ in writer.store.everything()}
        self._later: dict[Key, float] = {}
        self._awake = asyncio.Event()
        writer.store.listeners.append(self._notice)

    def _notice(self, event: Event) -> None:
        keys = self._collector.affected(event)
        if event.key[0] in ("jobs.batch", "cronjobs.batch"):
            keys.add(event.key)
        reference = controller(event.item)
        if event.key[0] == "pods" and reference is None:
            keys.add(event.key)
        if reference and event.key[0] in ("pods", "jobs.batch"):
            resource = "jobs.batch" if event.key[0] == "pods" else "cronjobs.batch"
            keys.add((resource, event.key[1], reference["name"]))
        self._dirty |= dict.fromkeys(keys)
        self._awake.set()

    async def run(self) -> None:
        """Until cancelled."""
        loop = asyncio.get_running_loop()
        tidy = loop.time()
        while True:
            if loop.time() >= tidy:
                journal.forget_old(self._writer)
                tidy = loop.time() + _TIDY
            while self._dirty:
                key = next(iter(self._dirty))
                del self._dirty[key]
                self._reconcile(key, loop.time())
                await asyncio.sleep(0)  # requests go first
            self._awake.clear()
            with contextlib.suppress(TimeoutError):
                until = min([tidy, *self._later.values()])
                await asyncio.wait_for(self._awake.wait(), max(until - loop.time(), 0.001))
            for key in [key for key, at in self._later.items() if at <= loop.time()]:
                del self._later[key]
                self._dirty[key] = None

    def _reconcile(self, key: Key, now: float) -> None:
        wait: float | None = None
        try:
            self._collector.reconcile(key)
            if key[0] == "pods":
                self._jobs.release(key[1], key[2])
            elif key[0] == "jobs.batch":
                wait = self._jobs.reconcile(key[1], key[2])
            elif key[0] == "cronjobs.batch":
                wait = self._cron_jobs.reconcile(key[1], key[2])
        except Refused as refused:
            _log.info("%s: %s", key, refused)
            wait = _RETRY
        except Exception:
            _log.exception("%s", key)  # one object's trouble is not the others'
            wait = _RETRY
        if wait is None:
            self._later.pop(key, None)
        else:
            self._later[key] = now + max(wait, 0.01)
