"""How a client asks for a write: the parameters of a request, apart from the object."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Options:
    """How a write is made: for whom, really or only tried, and what to do with unknown fields."""

    manager: str
    dry_run: bool = False
    validation: str = "Warn"  # Ignore | Warn | Strict
    force: bool = False
    subresource: str = ""
    warnings: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Deletion:
    """A DeleteOptions: seconds of grace for Pods, propagation policy, preconditions."""

    grace: int | None = None
    propagation: str = ""
    uid: str = ""
    version: str = ""
    dry_run: bool = False
