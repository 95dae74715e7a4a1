"""Ending a run from outside: when its deadline is over, and when the Pod is asked to stop.

The main thread is interrupted by a signal. It may not notice: it is inside a call that does not return, or waits for a
thread that is. So another thread waits a little longer, leaves the report, and ends the process. A call that does not
even let other threads run is ended by the interpreter's own timer, without a report.
"""

import faulthandler
import logging
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from penstock.language.errors import InvalidSpec, NotYet, PenstockError

log = logging.getLogger(__name__)

_STANDARD_ERROR = 2

PATIENCE = 10.0
"""Seconds that a run has to end by itself; then the process is ended. Kubernetes waits for 30 s and more."""


class Ended(BaseException):
    """The run is ended from outside; not an Exception, so that nothing on the way takes it for a failure of its own."""

    def __init__(self, error: PenstockError) -> None:
        super().__init__(error.message)
        self.error = error


class Watch:
    """Watches over one run. `leave` leaves the report of a run that did not end by itself, and yields its exit code."""

    def __init__(self, deadline: float, leave: Callable[[PenstockError], int], patience: float | None = None) -> None:
        """`deadline` and `patience` are in seconds."""
        self._deadline, self._leave = deadline, leave
        self._patience = PATIENCE if patience is None else patience
        self._over = threading.Event()
        self._leaving = threading.Lock()

    @contextmanager
    def over(self) -> Iterator[None]:
        """End the block with Ended on SIGTERM, and when it takes longer than the deadline."""

        def stop(*_: object) -> None:
            message = "The run was stopped before it had finished. Nothing was committed after that."
            error = NotYet(message, "Cancelled")
            self._start(threading.Timer(self._patience, self._give_up, [error]))
            raise Ended(error)

        def end(*_: object) -> None:
            raise Ended(self._late())

        earlier = signal.signal(signal.SIGTERM, stop), signal.signal(signal.SIGUSR1, end)
        timers = [
            threading.Timer(self._deadline, os.kill, (os.getpid(), signal.SIGUSR1)),
            threading.Timer(self._deadline + self._patience, self._give_up, [self._late()]),
        ]
        for timer in timers:
            self._start(timer)
        faulthandler.dump_traceback_later(self._deadline + 2 * self._patience, exit=True, file=_STANDARD_ERROR)
        try:
            yield
        finally:
            with self._leaving:
                self._over.set()
            faulthandler.cancel_dump_traceback_later()
            for timer in timers:
                timer.cancel()
            signal.signal(signal.SIGTERM, earlier[0])
            signal.signal(signal.SIGUSR1, earlier[1])

    def _late(self) -> PenstockError:
        message = (
            f"The run took longer than its deadline, {self._deadline:.0f} s. Raise deadline, or load less at once."
        )
        return InvalidSpec(message, "DeadlineExceeded")

    def _start(self, timer: threading.Timer) -> None:
        timer.daemon = True
        timer.start()

    def _give_up(self, error: PenstockError) -> None:
        """Leave the report in the place of a run that has not ended, and end the process."""
        with self._leaving:
            if self._over.is_set():
                return
            log.error("%s: %s The run did not end by itself and is ended.", error.reason, error.message)
            code = self._leave(error)
            os._exit(code)
