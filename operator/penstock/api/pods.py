"""Resources and nodes of the Pods that load or deliver a Dataset."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from penstock.language import scalars
from penstock.language.model import Faults, Model
from penstock.language.scalars import (
    Name,
    Quantity,
    ShortText,
)

SCRATCH_SIZE = "20Gi"
"""The most that a run may write into its scratch folder where `worker.resources` does not say."""


class ResourceList(Model):
    """Amounts of compute resources in Kubernetes notation."""

    cpu: Annotated[Quantity | None, Field(description='Cores: "2" or "500m".')] = None
    memory: Annotated[Quantity | None, Field(description='Bytes: "512Mi", "4Gi".')] = None
    ephemeral_storage: Annotated[
        Quantity | None,
        Field(
            alias="ephemeral-storage",
            description='Temporary files on disk, such as copies of Parquet files, in bytes: "10Gi". The limit '
            f"also limits the temporary folder of a run; without a limit the folder has at most {SCRATCH_SIZE}.",
        ),
    ] = None


class Resources(Model):
    """What a worker container asks for and may use at most."""

    requests: Annotated[ResourceList | None, Field(description="What the scheduler reserves.")] = None
    limits: Annotated[
        ResourceList | None,
        Field(description="The most that it may use; a worker that exceeds the memory limit is killed."),
    ] = None

    @model_validator(mode="after")
    def _requests_within_limits(self) -> Self:
        asked, most = (part.to_object() if part else {} for part in (self.requests, self.limits))
        faults = [
            f"requests.{name} {asked[name]} is more than limits.{name} {most[name]}"
            for name in asked
            if name in most and scalars.quantity(asked[name]) > scalars.quantity(most[name])  # type: ignore[operator] # by its pattern each is a number
        ]
        if faults:
            raise Faults(faults)
        return self


class Toleration(Model):
    """A taint that worker Pods tolerate, as `core/v1.Toleration` has it."""

    key: Annotated[
        str | None, Field(max_length=316, description="Key of the taint. With Exists and without a key: every taint.")
    ] = None
    operator: Annotated[
        Literal["Exists", "Equal"] | None, Field(description="How key and value are compared. Default: Equal.")
    ] = None
    value: Annotated[str | None, Field(max_length=63, description="The taint's value, with Equal.")] = None
    effect: Annotated[
        Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None,
        Field(description="Effect of the taint. Default: every effect."),
    ] = None
    toleration_seconds: Annotated[
        int | None, Field(description="How long a NoExecute taint is tolerated, in seconds. Default: without limit.")
    ] = None


class Worker(Model):
    """Where the runs that write or deliver this Dataset run."""

    resources: Annotated[Resources | None, Field(description="Requests and limits of the worker container.")] = None
    node_selector: Annotated[
        dict[ShortText, ShortText] | None,
        Field(max_length=32, description="Labels that a node must have to run the Pod."),
    ] = None
    tolerations: Annotated[
        list[Toleration] | None, Field(max_length=16, description="Taints that the Pod tolerates.")
    ] = None
    service_account_name: Annotated[
        Name | None,
        Field(description="ServiceAccount of the Pod; its token is never mounted. Default: the namespace's default."),
    ] = None
