"""Names whose addresses change, as their owner can have them do at any moment."""

from dataclasses import dataclass, field

NAME = "shop.invalid"
"""A name that no look-up of the system gives an address for (RFC 2606): only who takes the given address connects."""
METADATA = "169.254.169.254"


@dataclass
class Changing:
    """A look-up with another answer each time. `asked` are the names that were looked up."""

    answers: list[list[str]] = field(default_factory=lambda: [["127.0.0.1"], [METADATA]])
    asked: list[str] = field(default_factory=list)

    def __call__(self, host: str, port: int) -> list[str]:
        self.asked.append(host)
        assert port > 0
        return self.answers.pop(0)
