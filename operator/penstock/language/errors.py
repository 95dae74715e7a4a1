"""The two words for what went wrong, marked at birth: the user must change something, or we try again.

Each side translates them in one place: control into a problem that becomes a condition (`control/resolve.py`), a worker
into its exit code (`worker/run.py`).
"""

from collections.abc import Iterable

from penstock.language import visible
from penstock.language.conditions import Reason


class PenstockError(Exception):
    """A failure with a typed reason and a message that says what is wrong, where, and what to do; never a secret.

    Control characters in what the message quotes (cells, names of files and tables) are made visible, line ends too:
    see `visible`.
    """

    def __init__(self, message: str, reason: Reason) -> None:
        self.message = visible.line(message)
        super().__init__(self.message)
        self.reason: Reason = reason


class InvalidSpec(PenstockError):
    """The user must change something: a manifest, a Secret, the data. Trying again alone does not help."""

    def __init__(self, message: str, reason: Reason = "InvalidSpec") -> None:
        super().__init__(message, reason)


class ManyFaults(InvalidSpec):
    """Several faults of one manifest: the message has a line for each."""

    def __init__(self, faults: Iterable[str]) -> None:
        lines = [visible.line(fault) for fault in faults]
        super().__init__("; ".join(lines))
        self.message = "\n".join(lines)
        self.args = (self.message,)


class NotYet(PenstockError):
    """Something outside is not ready; it may be by itself later."""
