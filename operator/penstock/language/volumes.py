"""Claims: where a worker Pod finds the files of a `file://` URL."""

from typing import Annotated

from pydantic import Field

from penstock.language.model import Model
from penstock.language.scalars import Name

VOLUMES = "/volumes"


class Volume(Model):
    """A PersistentVolumeClaim that holds the files of a `file://` URL."""

    claim_name: Annotated[
        Name,
        Field(description="Name of a PersistentVolumeClaim in this namespace; it is mounted at /volumes/<claimName>."),
    ]

    @property
    def mount_path(self) -> str:
        """Where the claim is mounted in a worker Pod."""
        return f"{VOLUMES}/{self.claim_name}"
