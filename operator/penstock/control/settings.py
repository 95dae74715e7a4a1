"""The settings of an operator; each value with its reason."""

from dataclasses import dataclass, field

from penstock.api.pods import ResourceList, Resources


@dataclass(frozen=True)
class Election:
    """Which Lease an operator must hold before it acts. The times are in seconds, and named as in Kubernetes."""

    namespace: str
    name: str = "penstock-operator"
    identity: str = "penstock"
    """Who holds it; two that run at the same time must never have the same."""

    lease_duration: int = 30
    """How long without a renewal until others take the Lease over. Longer than the 15 s of Kubernetes' own controllers:
    a control plane that is upgraded is away for longer, and no run waits for us that long but after a crash."""

    renew_deadline: float = 20
    """How long the holder tries to renew until it stops: less than the above by what stopping takes."""

    retry_period: float = 4
    """Between two renewals, and between two attempts of those that stand by."""

    heartbeat_limit: float = 10
    """How long the work loop may be blocked before the Lease is no longer renewed."""


@dataclass(frozen=True)
class Settings:
    """Settings of one operator."""

    namespaces: tuple[str, ...] = ()
    """Namespaces to watch; empty is all of them."""

    election: Election | None = None
    """None: this operator is alone and acts at once."""

    worker_image: str = "penstock-worker:dev"
    """Image of every worker Pod; a manifest cannot choose another."""

    image_pull_policy: str = "IfNotPresent"
    """As Pods have it; `Never` where images are only ever imported."""

    resources: Resources = field(
        default_factory=lambda: Resources(
            requests=ResourceList(cpu="250m", memory="512Mi"), limits=ResourceList(memory="2Gi")
        )
    )
    """Of workers whose Dataset says nothing."""

    workers: int = 8
    """Objects that are reconciled at the same time; each mostly waits for the API server."""

    sweep_seconds: float = 300
    """How often everything is listed and reconciled again, in case a watch lost something."""

    relist_seconds: float = 1
    """After a watch was lost: how long until its objects are listed again, at least; twice as long at most."""

    retry_seconds: float = 15
    """After a failed inspection, migration or run: the first delay, doubled each time."""

    retry_limit_seconds: float = 600
    """The longest such delay."""
