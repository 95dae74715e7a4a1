"""Lake: what a Destination says of a warehouse of Apache Iceberg tables."""

from typing import Annotated, ClassVar, Self

from pydantic import Field, model_validator

from penstock.language.scalars import Url
from penstock.language.traits import ConnectorSpec, Traits
from penstock.language.volumes import Volume

_WAREHOUSE = r"^file:///[^?#]*$"


class LakeDestination(ConnectorSpec):
    """Apache Iceberg tables under one warehouse folder, with their SQL catalog in SQLite beside them."""

    traits: ClassVar[Traits] = Traits(
        title="Lake",
        description="Apache Iceberg tables, for Datasets.",
        store="penstock.connectors.lake.store:LakeStore",
        guarantee="Exactly once: rows, quarantine and the run's entry in the ledger are one database transaction.",
        example="examples/01-quickstart",
    )

    warehouse: Annotated[
        Url,
        Field(
            pattern=_WAREHOUSE,
            json_schema_extra={"pattern": _WAREHOUSE},
            description="The folder of all tables, file:///volumes/<claimName>/…; its catalog.db is the Iceberg SQL "
            "catalog and the ledger of runs.",
        ),
    ]
    volume: Annotated[Volume, Field(description="The claim with the warehouse.")]

    @model_validator(mode="after")
    def _beneath_its_volume(self) -> Self:
        path = self.warehouse.removeprefix("file://")
        if ".." in path.split("/") or not f"{path}/".startswith(f"{self.volume.mount_path}/"):
            raise ValueError(f"warehouse must lie beneath its volume: file://{self.volume.mount_path}/…")
        return self

    @property
    def location(self) -> str:
        return self.warehouse

    @property
    def claims(self) -> tuple[str, ...]:
        return (self.volume.claim_name,)


DESTINATION = LakeDestination
